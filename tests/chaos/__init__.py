"""Faults on purpose, on a real Kafka and a real Redis, and an independent look at what came of the records."""
