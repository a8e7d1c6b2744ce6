"""Envelopes around raw logs: raw, JSON, msgpack, CRI, syslog, OTLP, or found out. Knows nothing of Kafka."""

from worker.codec.envelopes.fields import AUTO, PRESETS, Fields
from worker.codec.envelopes.opening import KINDS, DeadRow, Detection, Envelope, OpenedEnvelopes

__all__ = ["AUTO", "KINDS", "PRESETS", "DeadRow", "Detection", "Envelope", "Fields", "OpenedEnvelopes"]
