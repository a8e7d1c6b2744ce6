r"""What must not leave the worker: values that are found by their form, by the key before them, or by their name.

This is the definition, and the reference of the compiled form (`columns/finding.py`), which the record path runs.
Bytes in, spans out, in time by the length of the text. Knows nothing of settings and of events.

By form:
- ip: IPv4, and IPv6 with a digit in it, with or without a port; not where the dots or colons go on.
- email: a local part, `@`, and a domain with a dot whose last label begins with a letter.
- card_number: 13 to 19 digits, together or in groups after a first one of four with one blank or hyphen between, that
  begin as an issuer's numbers of that length do and pass Luhn's check (ISO/IEC 7812-1).
- token: JSON Web Tokens; what follows `Bearer` or `Basic`; keys that begin as a known service's do (`AKIA`, `ghp_`...);
  the password of a URL; 32 characters or more of base64 in which upper case, lower case and digits change often; 32
  hexadecimal digits or more, unless as many as a digest has (MD5, SHA-1, SHA-2: commits, checksums) or a UUID.
- user: the user of a URL with a password.

By key or name: `user=...`, `"api_key": "..."`, `--password ...`, `session id: ...`, `user "..."`, a parameter that is
called `session`: see KEYS.

By what stands around it, a user: see PHRASES; `alice : TTY=` of sudo, `root(uid=0)` of PAM, ` - alice [12/Nov/2026` of
web servers, `'alice'@'` of MySQL, `-u alice:...` of curl.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from worker.parsing.templates import MAX_PARAMETERS, Template

#: The kinds of values, in the order of their codes.
KINDS = ("ip", "email", "token", "card_number", "user")
IP, EMAIL, TOKEN, CARD, USER = range(len(KINDS))
#: Kinds of keys alone: a token whose value goes on to the end of the line; and what reads like a key and is none.
LINE, NEVER = 5, 6

Way = Literal["mask", "hash"]

_TOKEN_KEYS = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "apitoken", "accesskey", "accesskeyid",
    "secretkey", "secretaccesskey", "privatekey", "session", "sessionid", "sessid", "sessionkey", "sid", "jsessionid",
    "phpsessid", "credential", "credentials", "csrf", "xsrf", "otp", "authcode", "xapikey", "sessionindex", "cvc",
    "cvv", "passwordhash", "xamzsignature",
)  # fmt: skip
_USER_KEYS = (
    "user", "username", "userid", "login", "loginname", "logname", "uid", "euid", "ruser", "account", "accountname",
    "enduserid", "principal", "accountid",
)  # fmt: skip
#: Keys and names, without their separators and in lower case, and what their values are.
KEYS: Mapping[str, int] = {
    **dict.fromkeys(_TOKEN_KEYS, TOKEN),
    **dict.fromkeys(_USER_KEYS, USER),
    **dict.fromkeys(("email", "mail", "emailaddress", "mailaddress"), EMAIL),
    **dict.fromkeys(("cardnumber", "creditcard", "creditcardnumber", "ccnumber", "pan"), CARD),
    **dict.fromkeys(("authorization", "proxyauthorization", "cookie", "setcookie"), LINE),
    **dict.fromkeys(("imaplogin", "pop3login", "managesievelogin", "submissionlogin", "lastlogin"), NEVER),
}
#: Values that tell nothing of anyone, those that are masked already among them.
EMPTY_VALUES = (
    *KINDS,
    "null", "none", "nil", "-", "true", "false", "undefined", "(null", "(none", "yes", "no", "?", "???", "unknown",
    "***", "n/a", "anonymous", "[filtered]", "[redacted]",
)  # fmt: skip
#: What a user's name follows, as sshd, PAM and ftp servers write it; in whatever case, behind no other letter.
PHRASES = (
    b"session opened for user", b"session closed for user", b"invalid user", b"illegal user", b"authenticating user",
    b"disconnected from user", b"accepted password for", b"accepted publickey for", b"accepted none for",
    b"failed password for", b"failed publickey for", b"failed none for", b"postponed publickey for",
    b"accepted keyboard-interactive/pam for", b"failed keyboard-interactive/pam for",
    b"postponed keyboard-interactive for", b"accepted gssapi-with-mic for", b"attempts exceeded for",
    b"authentication failure for", b"authentication attempt for", b"password required for", b"password changed for",
)  # fmt: skip
#: What a user's name follows if nothing but a mark stands behind it.
LAST_PHRASES = (b"for user", b"of user", b"by user", b"to user", b"at user", b"as user", b"from user")
#: Words that are no name there.
NO_NAMES = (
    "user", "users", "invalid", "illegal", "authenticating", "the", "a", "this", "your", "input", "request", "requests",
    "action", "interaction", "command", "error", "errors", "name", "names", "id", "ids", "agent", "data", "mode",
    "space", "interface", "session", "sessions", "account", "accounts", "password", "login", "authentication",
    "experience", "settings", "preferences", "profile", "role", "roles", "group", "groups", "code", "content",
)  # fmt: skip
#: What systemd calls its units by: `getty@tty1.service` is no address of mail.
UNITS = ("service", "socket", "timer", "target", "mount", "slice", "scope", "device")
#: How the keys of services begin; 20 characters or more, a digit or an upper-case letter among them.
PREFIXES = (
    b"AKIA", b"ASIA", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-", b"xoxb-", b"xoxp-",
    b"xoxa-", b"xoxs-", b"xoxr-", b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_", b"sk-", b"AIza", b"npm_", b"hf_",
    b"pypi-",
)  # fmt: skip
#: Hexadecimal digits of MD5, SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512.
DIGEST_LENGTHS = (32, 40, 56, 64, 96, 128)
#: Fewest characters of a token that only its randomness tells of.
LEAST_RANDOM = 32
#: Hexadecimal digits of a pseudonym: 64 bits.
PSEUDONYM_DIGITS = 16


class Hit(NamedTuple):
    """A value that is found."""

    start: int
    end: int
    #: Index in KINDS.
    kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is done to which kinds of values; kinds that are not named stay as they are."""

    ways: Mapping[str, Way]
    #: The key of the pseudonyms, 16 to 64 bytes; empty where nothing is hashed.
    key: bytes = b""

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return bool(self.ways)

    @property
    def wanted(self) -> tuple[bool, ...]:
        """Per kind, whether it is looked for."""
        return tuple(kind in self.ways for kind in KINDS)

    def written(self, kind: int, value: bytes) -> bytes:
        """Write what stands for a value: `<ip>`, or `<ip:PSEUDONYM>`."""
        name = KINDS[kind]
        if self.ways[name] == "mask":
            return b"<%b>" % name.encode()
        return b"<%b:%b>" % (name.encode(), pseudonym(self.key, name, value).encode())

    def redacted(self, text: bytes) -> bytes:
        """Write `text` again without what is found in it."""
        return self.rewritten(text, find(text, self.wanted))

    def template(self, template: Template) -> Template:
        """Write a template's constants again without what is found in them; one without hits is itself."""
        if not self:
            return template
        joined = _HOLE.join(template.literals)
        hits = [hit for hit in find(joined, self.wanted) if joined[hit.start : hit.end].strip(_HOLE)]
        if not hits:
            return template
        pieces = [piece for hit in hits for piece in _without_holes(joined, hit)]
        return replace(template, literals=tuple(self.rewritten(joined, pieces).split(_HOLE)))

    def cut(self, message: bytes, template: Template) -> Template:
        """Make parameters of the values in the constants of a template that was just cut from `message`.

        Neighbours do not change such a cut any more: it is as given as a person's.
        """
        if not self or (spans := template.match(message)) is None:
            return template
        hits = [hit for hit in find(message, self.wanted) if not _is_inside(hit, spans)]
        if not hits:
            return template
        edges = sorted([*spans, *((hit.start, hit.end) for hit in hits)])
        recut = Template.cut(message, edges, template.confidence)
        found = recut.match(message)
        if found is None or len(found) > MAX_PARAMETERS:  # nothing but values, no letter is left; or too many of them
            return template
        return replace(recut, names=tuple(_name(span, template, spans, hits) for span in found))

    def rewritten(self, text: bytes, hits: Iterable[Hit]) -> bytes:
        """Write `text` again without its `hits`, ascending and disjoint."""
        written, at = bytearray(), 0
        for hit in hits:
            written += text[at : hit.start] + self.written(hit.kind, text[hit.start : hit.end])
            at = hit.end
        return bytes(written + text[at:])


#: Leaves everything as it is.
NO_REDACTION = Redaction(ways={})


def pseudonym(key: bytes, kind: str, value: bytes) -> str:
    """Name a value by a keyed hash (BLAKE2b, RFC 7693), told apart by its kind: 16 hexadecimal digits."""
    size = PSEUDONYM_DIGITS // 2
    return hashlib.blake2b(value, digest_size=size, key=key, person=kind.encode()).hexdigest()


def kind_of_name(name: str) -> int | None:
    """Tell what a value is that is called `name`: by all of its words, the last two, or the last."""
    kind = _kind_of_key(name.encode())
    return TOKEN if kind == LINE else None if kind == NEVER else kind


def has_form(kind: int, value: bytes) -> bool:
    """Tell whether a value that is called as `kind` is one: something, an `@` in an address, digits of a card."""
    if not value or _is_empty(value):
        return False
    if kind == EMAIL:
        return b"@" in value
    if kind == CARD:
        return sum(0x30 <= byte <= 0x39 for byte in value) >= 12
    return kind != IP


def find(text: bytes, wanted: Collection[bool] = (True,) * len(KINDS)) -> list[Hit]:
    """Find the values of the `wanted` kinds, ascending; where some overlap they are one, of the longest's kind."""
    is_wanted = list(wanted)
    found = [hit for find_some in _FINDERS for hit in find_some(text) if is_wanted[hit.kind]]
    return merged(found)


def merged(hits: Iterable[Hit]) -> list[Hit]:
    """Sort hits and make one of those that overlap, of the longest's kind, the first found of two."""
    whole: list[Hit] = []
    longest = 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        if not whole or hit.start >= whole[-1].end:
            whole.append(hit)
            longest = hit.end - hit.start
            continue
        kind = whole[-1].kind
        if hit.end - hit.start > longest:
            kind, longest = hit.kind, hit.end - hit.start
        whole[-1] = Hit(whole[-1].start, max(whole[-1].end, hit.end), kind)
    return whole


#: Stands for a parameter in a template's constants.
_HOLE = b"\0"


def _without_holes(joined: bytes, hit: Hit) -> Iterator[Hit]:
    for piece in re.finditer(rb"[^\0]+", joined[hit.start : hit.end]):
        yield Hit(hit.start + piece.start(), hit.start + piece.end(), hit.kind)


def _is_inside(hit: Hit, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= hit.start and hit.end <= end for start, end in spans)


def _name(span: tuple[int, int], template: Template, spans: tuple[tuple[int, int], ...], hits: list[Hit]) -> str:
    """Keep the name of a parameter that is as it was; a new one is called by its kind."""
    for name, old in zip(template.names, spans, strict=True):
        if old == span:
            return name
    return next((KINDS[hit.kind] for hit in hits if span[0] <= hit.start < span[1]), "")


# by form

_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"
_IPV4 = re.compile(rb"(?<![0-9])(?<![0-9]\.)" + _OCTET + rb"(?:\." + _OCTET + rb"){3}(?![0-9])(?!\.[0-9])")
_COLONS = re.compile(rb"[0-9A-Fa-f:]+")
_FULL_IPV6 = re.compile(rb"(?:[0-9A-Fa-f]{1,4}:){7,8}[0-9A-Fa-f]{1,5}")
_OCTETS = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+")
_SHORT_IPV6 = re.compile(rb"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:(?:[0-9A-Fa-f]{1,4}:)*[0-9A-Fa-f]{1,5})?")


def _begins(text: bytes, at: int) -> bool:
    r"""Tell whether a value may begin at `at`: behind no word, unless it is the `n` of an escaped line end."""
    if at == 0 or text[at - 1] not in _WORD:
        return True
    return text[at - 1] in b"nrt" and text[at - 2 : at - 1] == b"\\"


def _ips(text: bytes) -> Iterator[Hit]:
    yield from (Hit(*found.span(), IP) for found in _IPV4.finditer(text))
    for run in _COLONS.finditer(text):
        start, end = run.span()
        if text[end : end + 1] and text[end] in _WORD:
            continue
        if re.match(rb"\.[0-9]", text[end : end + 2]):
            continue
        if text[start : start + 1] == b":" and text[start + 1 : start + 2] != b":":
            start += 1
        elif not _begins(text, start):
            continue
        if run[0].endswith(b":") and not run[0].endswith(b"::"):
            end -= 1
        value = text[start:end]
        if not re.search(rb"[0-9]", value):
            continue
        if _OCTETS.fullmatch(value):
            continue  # of hardware, eight of them: a world-wide name
        if _FULL_IPV6.fullmatch(value) or (_SHORT_IPV6.fullmatch(value) and 2 <= value.count(b":") <= 8):
            yield Hit(start, end, IP)


_LOCAL = frozenset(_WORD | {*b".%+-", *range(0x80, 0x100)})
_DOMAIN = re.compile(rb"[A-Za-z0-9.\-\x80-\xff]*")
_CREDENTIALS = re.compile(rb"://([^\x00-\x20/:@\"'<>]*):([^\x00-\x20/@\"'<>]+)@")


def _addresses(text: bytes) -> Iterator[Hit]:
    credentials = {found.end() - 1: found for found in _CREDENTIALS.finditer(text)}
    last = 0
    for at in (place for place, byte in enumerate(text) if byte == 0x40):
        if at in credentials:
            found = credentials[at]
            if found[1]:
                yield Hit(*found.span(1), USER)
            yield Hit(*found.span(2), TOKEN)
        else:
            start = at
            while start > last and text[start - 1] in _LOCAL:
                start -= 1
            if start < at and (domain := _DOMAIN.match(text, at + 1)) and _is_domain(name := domain[0].rstrip(b".-")):
                yield Hit(start, at + 1 + len(name), EMAIL)
        last = at + 1


def _is_domain(name: bytes) -> bool:
    label = name.rpartition(b".")[2]
    if label.lower().decode("latin-1") in UNITS:
        return False
    return b"." in name and name[0] not in b".-" and len(label) > 1 and label[0] >= 0x41


_DIGITS = re.compile(rb"[0-9]+")


def _issued(digits: bytes) -> bool:
    """Tell whether numbers of that length begin like that."""
    count, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[:1] == b"4":
        return count in {13, 16, 19}
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return count == 16
    if two in {34, 37}:
        return count == 15
    if two in {30, 36, 38, 39}:
        return count >= 14
    if two == 35 or digits[:1] == b"6":
        return count >= 16
    return two in {50, 56, 57, 58}


def _passes_luhn(digits: bytes) -> bool:
    total = 0
    for place, byte in enumerate(reversed(digits)):
        digit = (byte - 0x30) * (1 + place % 2)
        total += digit - 9 * (digit > 9)
    return total % 10 == 0


def _cards(text: bytes) -> Iterator[Hit]:
    at = 0
    while run := _DIGITS.search(text, at):
        start, at = run.span()
        if not _begins(text, start) or re.search(rb"[0-9][.\-]\Z", text[max(start - 2, 0) : start]):
            continue
        best, end, digits, separator = -1, at, run[0], b""
        while len(digits) <= 19:
            follows = text[end : end + 1]
            whole = not (follows and follows[0] in _WORD) and not re.match(rb"\.[0-9]", text[end : end + 2])
            if len(digits) >= 13 and whole and _issued(digits) and _passes_luhn(digits):
                best = end
            group = _DIGITS.match(text, end + 1)
            if len(run[0]) != 4 or follows not in {b" ", b"-"} or separator not in {b"", follows} or group is None:
                break
            separator, end, digits = follows, group.end(), digits + group[0]
        if best >= 0:
            yield Hit(start, best, CARD)
            at = best


_PIECES = re.compile(rb"[A-Za-z0-9_\-]+")
_REST_OF_JWT = re.compile(rb"(?:\.[A-Za-z0-9_\-]+)+")
_AFTER_SCHEME = re.compile(rb" {1,2}([A-Za-z0-9._~+/=\-]{8,})")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\-]+")
_HEX = re.compile(rb"[0-9a-f]+|[0-9A-F]+")
_TOLD = re.compile(rb"(?:secret|session|token|password) \Z")
_MOST_TOLD = 9


def _tokens(text: bytes) -> Iterator[Hit]:
    """Find JSON Web Tokens, services' keys, and what follows `Bearer`."""
    at = 0
    while run := _PIECES.search(text, at):
        start, end = run.span()
        at = end
        if run[0].startswith(b"eyJ") and len(run[0]) >= 10 and (rest := _REST_OF_JWT.match(text, end)):
            yield Hit(start, rest.end(), TOKEN)
            at = rest.end()
        if len(run[0]) >= 20 and run[0].startswith(PREFIXES) and re.search(rb"[0-9A-Z]", run[0]):
            yield Hit(start, end, TOKEN)
        if run[0].lower() in {b"bearer", b"basic"} and (after := _AFTER_SCHEME.match(text, end)):
            uppers = sum(0x41 <= byte <= 0x5A for byte in after[1][1:])
            if uppers > 1 or re.search(rb"[0-9=]", after[1]):
                yield Hit(*after.span(1), TOKEN)


def _random(text: bytes) -> Iterator[Hit]:
    """Find long runs of hexadecimal digits and of base64."""
    for run in _BASE64.finditer(text):
        if len(run[0]) < LEAST_RANDOM:
            continue
        if _HEX.fullmatch(run[0]):
            if len(run[0]) not in DIGEST_LENGTHS or _TOLD.search(text, max(run.start() - _MOST_TOLD, 0), run.start()):
                yield Hit(*run.span(), TOKEN)
        elif _is_random(run[0]):
            padding = re.match(rb"={0,2}", text[run.end() : run.end() + 2])
            yield Hit(run.start(), run.end() + (padding.end() if padding else 0), TOKEN)


def _class_of(byte: int) -> int:
    """Upper case, lower case, digits and the rest."""
    return 0 if 0x41 <= byte <= 0x5A else 1 if 0x61 <= byte <= 0x7A else 2 if 0x30 <= byte <= 0x39 else 3


def _is_random(run: bytes) -> bool:
    """Tell whether upper case, lower case and digits change as in base64: in two of five places, in most of its."""
    classes = [_class_of(byte) for byte in run]
    changes = sum(one != other and 3 not in {one, other} for one, other in pairwise(classes))
    return {0, 1, 2} <= set(classes) and 5 * changes >= 2 * (len(run) - 1)


# by key

#: Most bytes of a value that are read to tell whether it is one, where a key alone does not.
MOST_DOUBTFUL = 320
_KEY = re.compile(rb"[A-Za-z0-9_.\-]+")
_SEGMENT = re.compile(rb"[A-Z]+[a-z0-9]*|[a-z0-9]+")
_DELIMITER = re.compile(rb"(?:\\?[\"'])?[ \t]{0,2}(?:=[=>]?|:=?(?![:/]))[ \t]{0,2}")
_BEFORE_QUOTE = re.compile(rb" (?=[\"'])")
_OPTION = re.compile(rb"[ \t](?!-)")
_QUOTED = re.compile(rb"\"((?:[^\"\\]|\\.)*)|'((?:[^'\\]|\\.)*)", re.DOTALL)
_ANGLED = re.compile(rb"<([^\x00-\x20<>]*)")
_ESCAPED = re.compile(rb"\\[\"']([^\\]*)")
_BARE = re.compile(rb"[^\x00-\x20,;&\"'()\[\]{}<>|\\]*")
_TO_LINE_END = re.compile(rb"[^\r\n\"'\\]*")


def _kind_of_key(key: bytes) -> int | None:
    words = [word.lower().decode() for word in _SEGMENT.findall(key)]
    for count in (len(words), 2, 1):
        kind = KEYS.get("".join(words[-count:])) if words else None
        if kind is not None:
            return kind
    return None


def _is_empty(value: bytes) -> bool:
    return value.lower().decode("latin-1") in EMPTY_VALUES


def _keyed(text: bytes) -> Iterator[Hit]:
    at = former_start = 0
    former_end = -1
    while key := _KEY.search(text, at):
        two_words = text[former_start : key.end()] if text[former_end : key.start()] == b" " else b""
        (former_start, former_end), at = key.span(), key.end()
        delimiter = _DELIMITER.match(text, at)
        if delimiter is None and key[0].startswith(b"--"):
            delimiter = _OPTION.match(text, at)
        quoted = _BEFORE_QUOTE.match(text, at) if delimiter is None else None
        delimiter = delimiter or quoted
        if delimiter is None:
            continue
        kind = _kind_of_key(key[0])
        if two_words and (kind is None or _kind_of_key(two_words) == NEVER):
            kind = _kind_of_key(two_words)
        if kind is None or kind == NEVER:
            continue
        if quoted and kind != USER and not (kind == TOKEN and key[0][:2].lower() == b"pa"):
            continue
        if key[0] == b"PWD" and text[delimiter.end() : delimiter.end() + 1] == b"/":
            continue  # the working directory
        start, end = _value(text, delimiter.end(), kind)
        kind = TOKEN if kind == LINE else kind
        if has_form(kind, text[start:end]):
            yield Hit(start, end, kind)
            at = end


def _value(text: bytes, at: int, kind: int) -> tuple[int, int]:
    """Find the value that begins at `at`, empty where it turns out to be none.

    Such a one is not read to its end, or texts of keys alone would be read again and again.
    """
    if kind in {EMAIL, CARD}:
        start, end = _value_within(text, at, min(at + MOST_DOUBTFUL, len(text)), kind)
        if not has_form(kind, text[start:end]):
            return at, at
    return _value_within(text, at, len(text), kind)


def _value_within(text: bytes, at: int, most: int, kind: int) -> tuple[int, int]:
    """Take what is in quotes or angle brackets, else what ends with a blank or a mark; nothing from `most` on."""
    if re.match(rb"\[[\"'\\]", text[at : min(at + 2, most)]):
        at += 1  # the first of a list
    if found := _ESCAPED.match(text, at, most):
        return found.span(1)
    if found := _QUOTED.match(text, at, most):
        return found.span(1) if found[1] is not None else found.span(2)
    if kind != LINE and (found := _ANGLED.match(text, at, most)):
        return found.span(1)
    found = (_TO_LINE_END if kind == LINE else _BARE).match(text, at, most)
    end = found.end() if found else at
    is_short = kind != LINE and end - at <= MOST_DOUBTFUL
    if is_short and text[end - 1 : end] == b"=" and text[end : end + 1] in {b"<", b'"', b"'"}:
        return at, at  # another key, such as Dovecot's `Login: user=<bob>`
    while end > at and text[end - 1] in b".: ":
        end -= 1
    return at, end


# by what stands around it

_NAME = re.compile(rb"[A-Za-z0-9_.\-$]+")
_PHRASE = re.compile(
    rb"(?<![A-Za-z])(?:(?P<sure>%b)|%b)\Z"
    % (b"|".join(map(re.escape, PHRASES)), b"|".join(map(re.escape, LAST_PHRASES))),
    re.IGNORECASE,
)
_LONGEST_PHRASE = max(map(len, PHRASES))
_OF_SUDO = re.compile(rb" : (?:TTY=|PWD=|command not allowed|user NOT in)")
_DAY = re.compile(rb" \[[0-9][0-9]/[A-Z]")
_CURL = re.compile(rb"(?:\A|[\x00-\x20])-u \Z")
_PASSWORD = re.compile(rb":([^\x00-\x20\"']+)")
_MARKS = b"(:,;)\r\n"


def _users(text: bytes) -> Iterator[Hit]:
    at = 0
    while name := _NAME.search(text, at):
        start, at = name.span()
        end = start + len(name[0].rstrip(b"."))
        password = _PASSWORD.match(text, at) if _CURL.search(text[max(start - 4, 0) : start]) else None
        if password is not None:
            yield Hit(start, at, USER)
            yield Hit(*password.span(1), TOKEN)
            at = password.end()
        elif _is_name(text[start:end]) and _is_user(text, start, end, at):
            yield Hit(start, end, USER)


def _is_user(text: bytes, start: int, end: int, after: int) -> bool:
    """Tell whether what stands around a name says that it is a user's; dots at its end are in end .. `after`."""
    before = text[max(start - 3, 0) : start]
    if text[end : end + 5] == b"(uid=" or _OF_SUDO.match(text, end):
        return before == b"" or before.endswith(b" ")
    if before.endswith(b"'") and text[end : end + 3] == b"'@'":
        return True
    if before == b" - " and _DAY.match(text, end):
        return True
    if not before.endswith(b" "):
        return False
    phrase = _PHRASE.search(text, max(start - 2 - _LONGEST_PHRASE, 0), start - 1)
    return phrase is not None and (phrase["sure"] is not None or after == len(text) or text[after] in _MARKS)


def _is_name(word: bytes) -> bool:
    return re.search(rb"[A-Za-z0-9_]", word) is not None and word.lower().decode() not in NO_NAMES


_FINDERS: tuple[Callable[[bytes], Iterator[Hit]], ...] = (_ips, _addresses, _tokens, _random, _cards, _users, _keyed)
