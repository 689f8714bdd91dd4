from review_router.main import main

raise SystemExit(main())
