"""`python -m quality_audit`."""

from quality_audit.main import main

raise SystemExit(main())
