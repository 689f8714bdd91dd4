"""`python -m inference`."""

from inference.main import main

raise SystemExit(main())
