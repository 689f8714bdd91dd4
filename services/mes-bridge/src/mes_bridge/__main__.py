from mes_bridge.main import main

raise SystemExit(main())
