"""The columns that travel between kernels. Named tuples of contiguous arrays: numba takes them as they are.

Spans are byte offsets into the `buffer` of the same tuple unless said otherwise. `n` is the number of rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: No time is known.
NO_TIME = np.iinfo(np.int64).min
#: A length that says: there is none (a null key, a tombstone, a row without an event).
NONE = -1
#: Most header fields, beside timestamp and level, that a format may name.
MAX_FIELDS = 12

#: `Matches.tier`: how a row's template was found.
TIER_MISS, TIER_FINGERPRINT, TIER_INDEX, TIER_STORE, TIER_MODEL = 0, 1, 2, 3, 4


class Records(NamedTuple):
    """The records of one record batch (Kafka message format v2)."""

    #: The records section, decompressed, writable, (bytes,).
    buffer: U8
    #: Kafka offsets, (n,).
    offset: I64
    #: Milliseconds since the epoch, -1 for none, (n,).
    timestamp: I64
    #: Keys; length -1 is null, (n,) each.
    key_start: I64
    key_length: I64
    #: Values; length -1 is null: a tombstone, (n,) each.
    value_start: I64
    value_length: I64
    #: Headers as encoded, the count included, (n,) each.
    headers_start: I64
    headers_length: I64


class Texts(NamedTuple):
    """Raw texts out of their envelopes. An envelope may hold several, and several records may make one."""

    buffer: U8
    #: The raw text; length -1 is a row that becomes no event, (n,) each.
    start: I64
    length: I64
    #: Row of `Records` that the text came from (its last one if joined): key, headers, timestamp and offset, (n,).
    record: I64
    #: Which of its record's texts it is, from 0 (the last of them if joined); -1: the record holds no other, (n,).
    place: I64
    #: JSON members of the envelope's other fields, as `"a":1,"b":{}` in UTF-8, no braces, (bytes,) and (n,) each.
    attributes_buffer: U8
    attributes_start: I64
    attributes_length: I64
    #: Nanoseconds since the epoch that the envelope gives, NO_TIME for none, (n,).
    timestamp: I64
    #: OpenTelemetry severity number that the envelope gives, 0 for none, (n,).
    severity: U8


class Headers(NamedTuple):
    """What stands before the message. Spans point into `Texts.buffer`."""

    #: Row in the table of formats that fitted, -1: none did and the whole text is the message, (n,).
    format: I64
    message_start: I64
    message_length: I64
    #: Nanoseconds since the epoch, NO_TIME for none, (n,).
    timestamp: I64
    #: Digits after the second that the text gave, 0 to 9, (n,).
    precision: U8
    #: OpenTelemetry severity number, 0 for none, (n,).
    severity: U8
    #: The level as written; length 0 is none, (n,) each.
    level_start: I64
    level_length: I64
    #: The format's other fields in its order; length 0 is none, (n, MAX_FIELDS) each.
    field_start: I64
    field_length: I64


class Matches(NamedTuple):
    """The template of each row and the spans of its parameters in `Texts.buffer`."""

    #: Row in the template table, -1 for a miss, (n,).
    template: I64
    #: One of the TIER values, (n,).
    tier: U8
    #: Hash of the message's literal words, (n,).
    fingerprint: U64
    #: Row i has the parameters first_parameter[i] .. first_parameter[i] + parameter_count[i], (n,) each.
    first_parameter: I64
    parameter_count: I64
    #: Parameter spans, absolute in `Texts.buffer`, half open, (parameters,) each.
    start: I64
    end: I64


class Events(NamedTuple):
    """Encoded events, ready to be put into record batches."""

    buffer: U8
    #: Length -1 is a row without an event, (n,) each.
    start: I64
    length: I64
