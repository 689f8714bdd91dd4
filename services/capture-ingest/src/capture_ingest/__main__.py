"""`python -m capture_ingest`."""

from capture_ingest.main import main

raise SystemExit(main())
