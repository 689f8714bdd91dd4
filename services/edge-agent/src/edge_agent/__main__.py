"""`python -m edge_agent`."""

from edge_agent.main import main

raise SystemExit(main())
