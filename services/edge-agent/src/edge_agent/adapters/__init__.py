"""SQLite, onnxruntime, HTTP and the file system behind the ports."""
