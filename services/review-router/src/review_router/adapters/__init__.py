"""Where cases are kept: PostgreSQL, and memory for tests."""
