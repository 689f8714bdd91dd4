"""``python -m andon_local``."""

from andon_local.cli import main

raise SystemExit(main())
