"""Traces of batches by OpenTelemetry: all that Logloom knows of it. Imported only where traces are asked for."""
