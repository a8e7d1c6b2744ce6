"""Levels as OpenTelemetry SeverityNumbers: the one table that header formats, kernels and envelopes share.

The numbers follow the examples in appendix B of OpenTelemetry's logs data model. CRIT, the word of syslog and nginx,
is its 18; CRITICAL, the word of Python and .NET, is their highest level and therefore 21.
"""

from collections.abc import Mapping
from types import MappingProxyType

_WORDS_BY_SEVERITY: Mapping[int, str] = {
    1: "TRACE TRC TRCE VERBOSE VRB FINEST TRACE1 TRACE2 TRACE3 TRACE4 TRACE5 TRACE6 TRACE7 TRACE8 V T",
    5: "DEBUG DBG DBUG DEBG FINER DEBUG1 DEBUG2 DEBUG3 DEBUG4 DEBUG5 D D1 D2 D3 D4 D5",
    6: "FINE",
    7: "CONFIG",
    9: "INFO INF INFORMATION LOG HINT DETAIL STATEMENT CONTEXT QUERY LOCATION SYSTEM I",
    10: "NOTICE NOTE NTC N SUCCESS",
    13: "WARN WARNING WRN W",
    17: "ERROR ERR ERRO SEVERE FAIL E",
    18: "CRIT DPANIC",
    19: "ALERT",
    21: "FATAL FTL FATL FATA CRITICAL EMERG EMERGENCY PANIC F C",
}
#: Upper-case word -> SeverityNumber.
SEVERITY_OF_WORD: Mapping[bytes, int] = MappingProxyType(
    {word.encode(): severity for severity, words in _WORDS_BY_SEVERITY.items() for word in words.split()}
)
#: Most bytes of a level's word.
MAX_LEVEL_BYTES = max(map(len, SEVERITY_OF_WORD))
#: Levels of one letter, as klog, glog and Android write them: only where a format says `<level:letter>`.
SEVERITY_OF_LETTER: Mapping[int, int] = MappingProxyType(
    {word[0]: severity for word, severity in SEVERITY_OF_WORD.items() if len(word) == 1}
)
#: Redis marks its levels debug, verbose, notice and warning.
SEVERITY_OF_MARK: Mapping[int, int] = MappingProxyType({ord("."): 5, ord("-"): 6, ord("*"): 10, ord("#"): 13})

_SEVERITY_OF_PRIORITY = (21, 19, 18, 17, 13, 10, 9, 5)


def severity_of(text: bytes) -> int:
    """Return the OpenTelemetry SeverityNumber of a level's name in any case, 0 if it is none."""
    return SEVERITY_OF_WORD.get(text.upper(), 0)


def severity_of_priority(priority: int) -> int:
    """Return the OpenTelemetry SeverityNumber of a syslog severity, 0 (emergency) to 7 (debug), or 0 for another."""
    return _SEVERITY_OF_PRIORITY[priority] if 0 <= priority < len(_SEVERITY_OF_PRIORITY) else 0
