r"""The type of a parameter, from its bytes alone. Knows nothing of numba.

`RULES` is the one definition: `parameter_type` asks them one after the other and is the reference; the compiled form is
one automaton made of the same rules. Only regular, unanchored syntax is used (classes, groups, `|`, `?`, `*`, `+`,
`{m,n}`), so that both read a value in one pass. Bytes above 0x7f count as letters.
"""

import re

#: Every type, in the order of its code.
TYPES = (
    "integer",
    "float",
    "hex",
    "ip",
    "ip:port",
    "path",
    "url",
    "uuid",
    "host",
    "duration",
    "size",
    "time",
    "boolean",
    "id",
    "word",
    "text",
)

_NUMBER = r"[+\-]?[0-9]+(?:\.[0-9]+)?"
_LETTER = r"[A-Za-z\x80-\xff]"
_VISIBLE = r"[!-~\x80-\xff]"
_NAME = r"[A-Za-z0-9_.+@$~=\-\x80-\xff]"

_OCTET = r"(?:0|1[0-9]{0,2}|2(?:[0-4][0-9]?|5[0-5]?|[6-9])?|[3-9][0-9]?)"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_PORT = r":[0-9]{1,5}"
_GROUP = r"[0-9A-Fa-f]{1,4}"
# RFC 4291, section 2.2: eight groups, or fewer with one `::`; IPv4 at the end only where it is used: mapped and NAT64.
_IPV6 = "|".join(
    [
        rf"(?:{_GROUP}:){{7}}{_GROUP}",
        rf"(?:{_GROUP}:){{1,7}}:",
        rf"::(?:{_GROUP}(?::{_GROUP}){{0,6}})?",
        *(rf"(?:{_GROUP}:){{{before}}}(?::{_GROUP}){{1,{7 - before}}}" for before in range(1, 7)),
        rf"(?:::(?:[Ff]{{4}}:)?|64:[Ff]{{2}}9[Bb]::){_IPV4}",
    ]
)
_ZONE = r"(?:%[A-Za-z0-9_.\-]+)?"

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"(?:[01]?[0-9]|2[0-4]):[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]+)?)?"
_OFFSET = r"(?: ?(?:Z|UTC|GMT|[+\-][0-9]{2}:?[0-9]{2}))?"

_EXTENSION = (
    r"(?:7z|bak|bin|bz2|c|cc|cfg|class|conf|cpp|css|csv|dat|data|db|dll|exe|gz|h|html|ini|jar|java|jpg|js|json|jsp|lock|"
    r"log|lz4|md|out|pdf|php|pid|png|properties|py|rb|rpm|deb|service|sh|snappy|so|sock|socket|sql|svg|swp|tar|"
    r"target|tgz|timer|tmp|toml|ts|txt|war|xml|xz|yaml|yml|zip|zst)"
)
_TOP_LEVEL = (
    r"(?:ai|app|at|au|be|biz|br|ca|ch|cloud|cn|co|com|corp|de|dev|edu|es|eu|fr|gov|home|in|info|int|internal|invalid|io|"
    r"it|jp|kr|lan|local|localdomain|me|mil|net|nl|no|nz|org|pl|ru|se|test|tv|uk|us)"
)
_FIRST_LABEL = r"(?:[A-Za-z]|[0-9]+[A-Za-z\-])[A-Za-z0-9\-]*\."
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_\-]*\."

_TIME_UNIT = (
    r"(?:n|u|\xc2\xb5|\xce\xbc|m)?(?:s|sec)|secs|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?|"
    r"m(?:illi)?(?:secs|seconds?)|micro(?:secs|seconds?)|nano(?:secs|seconds?)"
)
_SIZE_UNIT = r"B|bytes?|Bytes?|[KkMmGgTtPpEe]i?[Bb]|[KkMGTP]i|[KkMGT]"

#: A type and what it looks like; the first that fits the whole value decides. What no rule fits is text, and so is the
#: empty value.
RULES: tuple[tuple[str, str], ...] = (
    ("integer", r"[+\-]?[0-9]+"),
    # An exponent without a point needs its sign: 12e4 is more often a piece of hex.
    ("float", r"[+\-]?(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?|[+\-]?[0-9]+[eE][+\-][0-9]+"),
    # Java prints an address without a name as /10.0.0.1.
    ("ip", rf"/?{_IPV4}|(?:{_IPV6}){_ZONE}|\[(?:{_IPV6}){_ZONE}\]"),
    ("ip:port", rf"/?{_IPV4}{_PORT}|/?\[(?:{_IPV6}){_ZONE}\]{_PORT}"),
    ("uuid", r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"),
    # Eight digits or more where no 0x says so; no English word has eight letters of a to f.
    ("hex", r"0[xX][0-9A-Fa-f]+|[0-9a-f]{8,}|[0-9A-F]{8,}"),
    ("time", rf"{_CLOCK}{_OFFSET}"),
    ("time", rf"[0-9]{{4}}[\-/.][0-9]{{2}}[\-/.][0-9]{{2}}(?:[T ]{_CLOCK}{_OFFSET})?"),
    ("time", rf"[0-9]{{1,2}}/[0-9]{{1,2}}/(?:[0-9]{{2}}|[0-9]{{4}})(?: {_CLOCK})?"),
    ("time", rf"[0-9]{{1,2}}[/\-]{_MONTH}[/\-][0-9]{{4}}(?:[: ]{_CLOCK}{_OFFSET})?"),
    ("time", rf"(?:{_WEEKDAY},? )?{_MONTH} [ 0-9]?[0-9] {_CLOCK}(?: [A-Z]{{3,4}})?(?: [0-9]{{4}})?"),
    ("time", rf"(?:{_WEEKDAY}, )?[0-9]{{1,2}} {_MONTH} [0-9]{{4}}(?: {_CLOCK}{_OFFSET})?"),
    ("time", r"[0-9]{8}T[0-9]{6}(?:\.[0-9]+)?Z?"),
    ("duration", rf"{_NUMBER} ?(?:{_TIME_UNIT})"),
    ("duration", r"-?(?:[0-9]+(?:\.[0-9]+)?(?:d|h|m|s|ms|us|\xc2\xb5s|ns)){2,}"),
    ("duration", r"P(?:[0-9]+[YMWD]){1,4}|P(?:[0-9]+[YMWD]){0,4}T(?:[0-9]+(?:\.[0-9]+)?[HMS]){1,3}"),
    ("size", rf"{_NUMBER} ?(?:{_SIZE_UNIT})"),
    ("boolean", r"true|false|yes|no|on|off|True|False|Yes|No|On|Off|TRUE|FALSE|YES|NO|ON|OFF"),
    ("url", rf"[A-Za-z][A-Za-z0-9]*(?:[+:][A-Za-z0-9]+)*://{_VISIBLE}+"),
    ("path", rf"~?/{_VISIBLE}*|\.\.?/{_VISIBLE}*|\\\\{_VISIBLE}+|[A-Za-z]:[\\/][ -~\x80-\xff]*"),
    # A file's name by its extension, with the line that compilers and stack traces add.
    ("path", rf"(?:{_NAME}|/)*[A-Za-z0-9_\-]\.{_EXTENSION}(?::[0-9]+)?"),
    # A package or a class: the same shape as a host, from its other end.
    ("id", r"(?:com|org|net|edu|gov|io|java|javax|jdk|sun|scala|kotlin)\.[A-Za-z0-9_.$]+"),
    ("host", rf"(?:localhost|{_FIRST_LABEL}(?:{_LABEL})+[a-z]{{2,}}|{_FIRST_LABEL}{_TOP_LEVEL})(?:{_PORT})?"),
    ("word", rf"{_LETTER}+(?:[_'\-]{_LETTER}+)*"),
    ("id", r"[_\-.:#@$/\\+=~]*[A-Za-z0-9\x80-\xff][A-Za-z0-9_\-.:#@$/\\+=~\x80-\xff]*"),
)

_PATTERNS = [(kind, re.compile(pattern.encode("latin-1"))) for kind, pattern in RULES]


def parameter_type(value: bytes) -> str:
    r"""Return the type of a parameter's value, one of TYPES, by the first of RULES that fits all of it.

    integer and float may have a sign; hex is 0x... or eight hexadecimal digits or more in one case; ip is IPv4 or IPv6,
    bare, in brackets or after Java's slash; ip:port adds a port of one to five digits; uuid is 8-4-4-4-12; time is a
    date, a clock or both: ISO 8601, syslog, CLF, ctime; duration and size are a number and a unit, one blank allowed
    between, or Go's 1h2m3s and ISO's PT3S; boolean is true, false, yes, no, on, off; url has ://; path is rooted (/,
    ~/, ./, ../, C:\, \\host) or ends in a usual file extension; host is localhost, three labels or more, or two with a
    usual top-level domain, with or without a port; word is letters, joined by _, - or '; id is letters, digits and
    _-.:#@$/\+=~ without white space; text is all else, the empty value too.
    """
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(value):
            return kind
    return "text"
