"""PostgreSQL, HTTP and signatures behind the ports."""
