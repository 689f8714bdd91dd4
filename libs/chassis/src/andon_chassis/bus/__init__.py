"""The bus: what the delivery patterns need of Kafka, with an in-memory twin that behaves the same."""
