"""Every error that Logloom raises on purpose, as one tree.

    LogloomError
    ├── BadInput                 one raw log: becomes a dead letter
    │   ├── Undecodable          the envelope can't be read
    │   ├── TooLarge             a record is over the configured limit
    │   ├── Unparsable           no template fits the message
    │   ├── ModelFailed          the model raises at this message, and not at others
    │   └── TooMuchForDevice     the model's device lacks the memory for this message alone
    ├── StoreUnavailable         Redis does not answer: the worker goes on without it
    ├── WrongLabels              labelled lines can't be read, or a template does not fit its line
    └── BadWorld                 stops the process
        ├── CorruptRecordBatch   a record batch fails its checksum or lies about its lengths
        ├── DeliveryFailed       the broker did not acknowledge an event
        ├── Unreachable          a server that is needed does not answer, or refuses
        ├── WrongSettings        settings that can't be run with
        ├── WrongFormat          a header format that can't be compiled
        ├── WrongModel           a checkpoint that is broken or does not fit
        └── ModelHangs           the model gives no answer in time

The docstring of a class is its message where none is given.
"""

from typing import ClassVar


class LogloomError(Exception):
    """Logloom can't go on."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or "")


class BadInput(LogloomError):
    """A raw log can't become an event."""

    #: The dead letter's reason.
    reason: ClassVar[str] = "bad_input"


class Undecodable(BadInput):
    """The envelope can't be read."""

    reason = "undecodable"


class TooLarge(BadInput):
    """A record is larger than the configured limit."""

    reason = "too_large"

    def __init__(self, message: str | None = None, *, rows: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        #: Every row of the batch that is too large, where a batch was at hand.
        self.rows = rows


class Unparsable(BadInput):
    """No template fits the message."""

    reason = "unparsable"


class ModelFailed(BadInput):
    """The model raises at this message, and not at others."""

    reason = "model_failed"


class TooMuchForDevice(BadInput):
    """The model's device has too little memory for this message alone."""

    reason = "model_memory"


class StoreUnavailable(LogloomError):
    """The template store in Redis does not answer; the worker goes on with what the process knows."""


class WrongLabels(LogloomError):
    """Labelled lines can't be read, or a template does not fit its line."""


class BadWorld(LogloomError):
    """Something outside Logloom is broken; the process stops."""


class CorruptRecordBatch(BadWorld):
    """A record batch fails its checksum or lies about its lengths."""


class DeliveryFailed(BadWorld):
    """The broker did not acknowledge what was produced."""


class Unreachable(BadWorld):
    """A server that is needed does not answer, or refuses."""


class WrongSettings(BadWorld):
    """The settings can't be run with."""


class WrongFormat(BadWorld):
    """A header format can't be compiled."""


class WrongModel(BadWorld):
    """A checkpoint is broken or does not fit this version."""


class ModelHangs(BadWorld):
    """The model gives no answer in time."""
