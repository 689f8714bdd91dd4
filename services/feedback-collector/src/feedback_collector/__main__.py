"""Run with `python -m feedback_collector`."""

from feedback_collector.main import main

if __name__ == "__main__":
    raise SystemExit(main())
