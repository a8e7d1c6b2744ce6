"""Logloom: raw logs in Kafka topics become structured events in another topic."""

__version__ = "0.1.0"
