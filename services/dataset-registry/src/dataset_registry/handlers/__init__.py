"""One function for each event or command: what comes in, which ports it uses, what goes out."""
