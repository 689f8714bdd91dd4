"""`python -m dataset_registry`."""

from dataset_registry.main import main

raise SystemExit(main())
