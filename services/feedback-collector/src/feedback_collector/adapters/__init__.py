"""Faust, Kafka and the registry behind the collector's ports."""
