"""Headers: the language that declares them, presets, detection, and the reference that splits them from messages.

Knows nothing of numba; `worker.columns.headers` runs the same programs in a kernel.
"""

from worker.parsing.headers.detection import Detection, Fit, detect
from worker.parsing.headers.language import ATTRIBUTE_OF_NAME, parse_format
from worker.parsing.headers.levels import severity_of, severity_of_priority
from worker.parsing.headers.presets import PRESETS, format_of
from worker.parsing.headers.program import MAX_FIELDS, HeaderFormat
from worker.parsing.headers.reference import Header, split

__all__ = [
    "ATTRIBUTE_OF_NAME",
    "MAX_FIELDS",
    "PRESETS",
    "Detection",
    "Fit",
    "Header",
    "HeaderFormat",
    "detect",
    "format_of",
    "parse_format",
    "severity_of",
    "severity_of_priority",
    "split",
]
