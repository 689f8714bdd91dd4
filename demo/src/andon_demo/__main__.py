"""`python -m andon_demo`."""

import sys

from andon_demo.main import main

sys.exit(main())
