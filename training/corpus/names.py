"""Which kinds of values a variable may hold, by its name and its conversion. The kinds are methods of `Values`."""

import re
from collections.abc import Sequence

#: Which kinds a name speaks for: the first pattern found in the name decides.
_BY_NAME: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), tuple(kinds.split()))
    for pattern, kinds in (
        (
            (
                r"^(e|ex|exc|err|error|errors|exception|cause|reason|t|throwable|failure|msg|message|detail\w*|warning|"
                r"stderr)$|(error|exc|exception|reason|message|cause)$"
            ),
            "exception exception exception reason phrase cls quoted",
        ),
        (
            r"uuid|guid",
            "uuid",
        ),
        (
            r"(^|_)ip(_|$)|ip_?addr|ipaddr",
            "ip",
        ),
        (
            r"mac_?(addr|$)",
            "mac",
        ),
        (
            r"port$",
            "port",
        ),
        (
            r"url|uri|link|href|endpoint",
            "url url url route host socket",
        ),
        (
            r"mail",
            "email",
        ),
        (
            r"addr|remote|socket|peer|sock|client_?address|bind",
            "socket socket ip host",
        ),
        (
            r"host|server|node|broker|domain|instance|cluster|machine|replica|leader|coordinator",
            "host host numbered ip socket word integer",
        ),
        (
            r"path|dir|folder|location|root|mount|destination|dest$|^src$|directory",
            "path path path unix_path file relative",
        ),
        (
            r"file|script|module_?file|jar|archive|log_?name",
            "path file file",
        ),
        (
            r"user|login|owner|account|principal|author|username",
            "user",
        ),
        (
            r"topic_?partition|^tp$",
            "numbered",
        ),
        (
            r"sha|hash|digest|checksum|md5|etag|fingerprint|token|secret|signature|commit|revision",
            "hashed hashed hexadecimal",
        ),
        (
            r"elapsed|took|duration|latency|interval|timeout|delay|wait|ttl|backoff|uptime|lag",
            "integer duration decimal duration small",
        ),
        (
            r"(milli|nano|micro)s?|seconds?$|secs?$|_ms$|ms$",
            "integer small decimal",
        ),
        (
            r"date|^time|timestamp|_time$|time$|^now|_at$|deadline|expir|since|until|^start$|^end$|created|modified",
            "time time integer",
        ),
        (
            r"bytes|size|memory|capacity|limit|max|min|space|length|^len|quota|usage",
            "integer integer size grouped",
        ),
        (
            r"percent|ratio|rate|score|loss|progress|fraction|load",
            "decimal percent decimal integer",
        ),
        (
            (
                r"count|num|total|index|idx|offset|attempt|retr|epoch|generation|step|line|depth|level_?num|number|"
                r"position|pos|row|n$|^[ijknx]$|seq|term|priority|weight|width|height|remaining|times|left"
            ),
            "integer small small",
        ),
        (
            r"version|release",
            "version version integer",
        ),
        (
            r"pid|tid|fd$|errno|rc$|ret$|retcode|exit_?code|returncode|signal|signum",
            "integer small signed status",
        ),
        (
            r"status|code",
            "status state integer signed",
        ),
        (
            r"state|phase|mode|stage|role|health",
            "state",
        ),
        (
            r"enabled|flag|^is_|^has_|success|force|boolean|valid|^should|^can_",
            "boolean",
        ),
        (
            r"class|type|cls|kind|clazz|impl|bean|provider|handler|listener|factory|plugin|backend|driver|loader",
            "cls cls identifier title",
        ),
        (
            r"thread",
            "numbered numbered cls integer",
        ),
        (
            r"verb|method",
            "verb verb identifier",
        ),
        (
            r"func|callback|attr|property|field|column|param|arg$|option|setting|variable|key$",
            "identifier identifier word dotted",
        ),
        (
            r"query|sql|statement",
            "sql sql command",
        ),
        (
            r"command|cmd|expression",
            "command command phrase word",
        ),
        (
            (
                r"_list$|list$|names$|ids$|keys$|items$|hosts$|files$|paths$|args$|values$|nodes$|partitions$|topics$|"
                r"sources$|set$|[a-z]{3,}(?<!s)s$"
            ),
            "listing listing listing integer word identifier",
        ),
        (
            (
                r"config|options|params|kwargs|request|response|map$|dict|context|metadata|record|event|entry|body|"
                r"payload|data|result|info|state_?dict|headers?|attributes"
            ),
            "struct pairs struct identifier listing quoted",
        ),
        (
            r"id$|^id|xid|txn",
            "uuid integer integer numbered hashed identifier word composite",
        ),
        (
            (
                r"topic|queue|table|db|database|schema|bucket|group|tenant|namespace|exchange|index_?name|collection|"
                r"channel|session|connection|job|task|service|process|worker|container|image|package|project|repo|branch|"
                r"tag|label|alias|name|component|device|interface|entity|element|resource|target|source|model|title|"
                r"stream|pool"
            ),
            "identifier identifier word word numbered title hashed composite relative dotted",
        ),
        (
            r"text|description|comment|summary|output|content|value|string|^s$|line",
            "phrase word quoted integer identifier",
        ),
    )
)


_BY_CONVERSION = {
    **dict.fromkeys("fgeF", ("decimal",)),
    **dict.fromkeys("xXp", ("hexadecimal",)),
    **dict.fromkeys("diu", ("integer", "small", "small")),
    ",": ("grouped",),
    "b": ("boolean",),
    "c": ("word",),
}


def kinds_of(name: str, conversion: str) -> Sequence[str]:
    """Choose the kinds of values by conversion, then by name."""
    if kinds := _BY_CONVERSION.get(conversion[-1:]):
        return ("port",) if kinds[0] == "integer" and name.endswith("port") else kinds
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for pattern, kinds in _BY_NAME:
        if pattern.search(snake):
            return (*kinds, *kinds, *kinds, "anything")
    return ("anything",)
