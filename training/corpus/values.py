"""What a variable of a logging call may hold, made up from its name and its conversion.

A value may hold constant text itself, such as the keys in `Job(id=7, queue=mail)`: the variable stretches of such a
value stand between `OPEN` and `CLOSE`; a value without them is variable as a whole.
"""

# ruff: noqa: S608, S108 - statements and paths in made-up messages: nothing runs or opens them

import random
import re
import string
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from training.corpus.names import kinds_of

OPEN, CLOSE = "\ue000", "\ue001"

_FOREIGN = (
    "müller", "żółć", "naïve", "josé", "файл", "сервер", "данные", "用户", "数据库", "テスト", "サーバー", "αρχείο",
    "größe",    "café", "señal", "한국어", "ملف", "ağ", "été", "data😀",
)  # fmt: skip
_PACKAGES = ("org", "com", "io", "net", "de", "java", "javax", "kotlin", "scala", "app", "core", "internal", "lib")
_CLASS_ENDS = (
    "Service", "Manager", "Handler", "Factory", "Client", "Server", "Listener", "Task", "Job", "Worker", "Controller",
    "Impl", "Provider", "Filter", "Context", "Event", "Request", "Response", "Config", "Channel", "Thread", "Pool",
)  # fmt: skip
_EXCEPTIONS = (
    "ValueError", "KeyError", "TimeoutError", "ConnectionError", "OSError", "RuntimeError", "PermissionError",
    "IOException", "NullPointerException", "IllegalStateException", "IllegalArgumentException", "TimeoutException",
    "SocketException", "EOFException", "ConnectException", "InterruptedException", "FileNotFoundException",
    "ClassNotFoundException", "SQLException", "UnknownHostException", "OutOfMemoryError", "SSLException", "ENOENT",
    "ECONNREFUSED", "EPIPE", "BrokenPipeError", "UnicodeDecodeError", "JSONDecodeError", "CancelledError",
)  # fmt: skip
_REASONS = (
    "Connection refused", "No such file or directory", "Permission denied", "Connection reset by peer", "timed out",
    "Broken pipe", "Address already in use", "No route to host", "Name or service not known", "Read timed out",
    "Too many open files", "Operation not permitted", "No space left on device", "Invalid argument", "end of file",
    "Resource temporarily unavailable", "Network is unreachable", "Host is down", "Input/output error", "closed",
    "Disk quota exceeded", "authentication failed", "certificate has expired", "not found", "unexpected EOF",
)  # fmt: skip
_STATES = (
    "RUNNING", "STOPPED", "PENDING", "FAILED", "active", "inactive", "Ready", "NOT_READY", "open", "closed", "up",
    "down", "ACTIVE", "LEADER", "FOLLOWER", "STARTED", "connected", "disconnected", "OK", "ERROR", "new", "done",
    "Initialized", "healthy", "degraded", "idle", "busy", "enabled", "disabled", "SUCCESS", "online", "offline",
    "replica",
)  # fmt: skip
_EXTENSIONS = (
    "log", "txt", "conf", "json", "yaml", "xml", "py", "java", "jar", "so", "db", "tmp", "gz", "csv", "sock", "pid",
    "html", "js", "png", "properties", "tar.gz", "deb", "idx", "ini", "pem",
)  # fmt: skip
_ROOTS = (
    "/var/log",
    "/etc",
    "/usr/lib",
    "/tmp",
    "/home",
    "/opt",
    "/data",
    "/var/lib",
    "/run",
    "/srv",
    "/mnt",
    "/proc",
    "/dev",
)
_TLDS = ("com", "org", "net", "io", "local", "internal", "lan", "example.com", "cluster.local", "svc", "de", "co.uk")
_USERS = (
    "root",
    "admin",
    "postgres",
    "www-data",
    "nobody",
    "guest",
    "test",
    "deploy",
    "alice",
    "bob",
    "eve",
    "oracle",
    "git",
)
_COMMANDS = (
    "ls -la",
    "rm -rf",
    "systemctl restart",
    "git pull",
    "python3 -m",
    "tar xzf",
    "SELECT * FROM",
    "kill -9",
    "cp -r",
)
_ZONES = ("Z", "+00:00", "+02:00", "-0500", "")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def variable(text: str) -> str:
    """Mark a stretch of a value as variable."""
    return f"{OPEN}{text}{CLOSE}"


class Values:
    """Makes values; the same seed makes the same ones."""

    def __init__(self, rng: random.Random, words: Sequence[str], phrases: Sequence[str], names: Sequence[str]) -> None:
        #: `words`: plain words; `phrases`: sentences such as exceptions carry; `names`: names of variables.
        self.rng = rng
        self.words = words
        self.phrases = phrases
        self.names = names

    def of(self, name: str, conversion: str = "") -> str:
        """Make a value of the variable `name`, formatted by `conversion`."""
        kind = self.rng.choice(kinds_of(name, conversion))
        # Few values are plain words, nearly all constants are: what varies in spite of that, the stream tells.
        if kind in {"word", "title", "phrase"} and self.rng.random() < 0.6:
            kind = self.pick(("identifier", "numbered", "integer", "hashed", "path"))
        text: str = getattr(self, kind)()
        if conversion in {"r", "a"} and OPEN not in text and not re.fullmatch(r"[\d.\-]+|True|False|None|<.*>", text):
            text = f"'{text}'"
        return self.wrapped(text) if not conversion and self.rng.random() < 0.025 else text

    def wrapped(self, text: str) -> str:
        """Print a value as an optional one is printed, or as bytes, or as a reference: variable as a whole."""
        form = self.pick(
            ("Some({})", "Optional[{}]", "Option({})", "b'{}'", "&{}", "*{}", "<{}>", "${{{}}}", "@{}", "[{}]")
        )
        return form.format(text.replace(OPEN, "").replace(CLOSE, ""))

    def pick(self, options: Sequence[str]) -> str:
        """Choose one."""
        return self.rng.choice(options)

    # Numbers

    def integer(self) -> str:
        """Make any whole number, small ones more often."""
        return str(int(10 ** self.rng.uniform(0, self.rng.choice((1.5, 3, 6, 10, 19)))) - self.rng.randrange(2))

    def small(self) -> str:
        """Make a number below a hundred."""
        return str(self.rng.randrange(self.rng.choice((4, 10, 100))))

    def signed(self) -> str:
        """Make a number that may be negative, as error codes are."""
        return f"-{self.small()}" if self.rng.random() < 0.6 else self.integer()

    def grouped(self) -> str:
        """Make a number with thousands separated."""
        return f"{self.rng.randrange(1000, 10**9):,}"

    def decimal(self) -> str:
        """Make a number with a fraction."""
        value = self.rng.uniform(0, self.rng.choice((1, 10, 1000, 1e6)))
        return self.pick(
            (f"{value:.{self.rng.randrange(1, 7)}f}", f"{value:.3f}", f"{value:.3e}", str(round(value, 2)))
        )

    def hexadecimal(self) -> str:
        """Make a hexadecimal number, with or without 0x."""
        digits = self.digits("0123456789abcdef", self.rng.choice((2, 4, 8, 12, 16)))
        return self.pick((f"0x{digits}", f"0x{digits}", digits, digits.upper()))

    def digits(self, alphabet: str, length: int) -> str:
        """Make random characters of an alphabet."""
        return "".join(self.rng.choices(alphabet, k=length))

    def port(self) -> str:
        """Make a port number."""
        return str(self.rng.choice((80, 443, 22, 8080, 9092, 6379, 5432, self.rng.randrange(1024, 65536))))

    def status(self) -> str:
        """Make a status code."""
        return self.pick(("200", "404", "500", "301", "403", "0", "1", "-1", "13", "111", "255"))

    def boolean(self) -> str:
        """Make a truth value."""
        return self.pick(("true", "false", "True", "False", "yes", "no", "on", "off"))

    def nothing(self) -> str:
        """Make what stands for no value."""
        return self.pick(("null", "None", "nil", "-", "n/a", "undefined", "", "unknown", "(null)", "<none>", "none"))

    def percent(self) -> str:
        """Make a share; the sign is constant."""
        return f"{variable(f'{self.rng.uniform(0, 100):.{self.rng.randrange(3)}f}')}%"

    # Addresses

    def ip(self) -> str:
        """Make an IPv4 address, or sometimes an IPv6 one."""
        if self.rng.random() < 0.12:
            groups = [f"{self.rng.randrange(65536):x}" for _ in range(8)]
            return self.pick(("::1", "fe80::" + ":".join(groups[:4]), ":".join(groups), f"2001:db8::{groups[0]}"))
        first = self.pick(("10", "192", "172", "127", str(self.rng.randrange(1, 255))))
        return ".".join([first, *(str(self.rng.randrange(256)) for _ in range(3))])

    def socket(self) -> str:
        """Make an address with its port, as Java, Python or C print it."""
        address, port = self.ip(), self.port()
        return self.pick(
            (
                f"{address}:{port}",
                f"{address}:{port}",
                f"/{address}:{port}",
                f"{self.host()}:{port}",
                f"{self.host()}/{address}:{port}",
                f"('{address}', {port})",
            )
        )

    def host(self) -> str:
        """Make a host's name, short or full."""
        word = self.word()
        first = self.pick(
            (
                word,
                f"{word}{self.small()}",
                f"{word}-{self.small()}",
                f"{self.word()}-{word}",
                "localhost",
                f"node-{self.small()}",
                f"ip-10-0-{self.small()}-{self.small()}",
            )
        )
        return first if self.rng.random() < 0.45 else f"{first}.{self.pick((self.word() + '.', ''))}{self.pick(_TLDS)}"

    def zone(self) -> str:
        """Make a name of the DNS with its last dot, or the root."""
        return "." if self.rng.random() < 0.05 else f"{self.host()}."

    def dns_type(self) -> str:
        """Make the type of a DNS record."""
        return self.pick(("A", "A", "AAAA", "MX", "PTR", "TXT", "NS", "SOA", "SRV", "CNAME", "ANY"))

    def dns_class(self) -> str:
        """Make the class of a DNS record."""
        return self.pick(("IN", "IN", "IN", "CH"))

    def url(self) -> str:
        """Make a URL."""
        scheme = self.pick(
            (
                "http",
                "https",
                "https",
                "redis",
                "jdbc:postgresql",
                "amqp",
                "tcp",
                "tcp",
                "file",
                "s3",
                "ws",
                self.word(),
            )
        )
        host = self.pick(
            (
                self.host(),
                f"{self.ip()}:{self.port()}",
                f"{self.host()}:{self.port()}",
                f"/{self.ip()}:{self.port()}",
                self.dotted(),
            )
        )
        tail = self.pick(
            (
                "",
                "/",
                self.unix_path(),
                f"/api/v{self.small()}/{self.word()}",
                f"/{self.word()}?{self.word()}={self.small()}",
                f"@{self.integer()}",
            )
        )
        return f"{scheme}://{host}{tail}"

    def route(self) -> str:
        """Make the path of a request."""
        return self.pick(
            (
                f"/{self.word()}",
                f"/api/v1/{self.word()}/{self.integer()}",
                f"/{self.word()}/{self.word()}.html",
                f"/{self.word()}?{self.word()}={self.word()}&n={self.small()}",
                "/",
            )
        )

    def mac(self) -> str:
        """Make a hardware address."""
        return ":".join(self.digits("0123456789abcdef", 2) for _ in range(6))

    def email(self) -> str:
        """Make a mail address."""
        return f"{self.word()}@{self.word()}.{self.pick(_TLDS)}"

    # Files

    def unix_path(self) -> str:
        """Make a path."""
        parts = [
            self.pick((self.word(), self.word(), self.identifier(), f"{self.word()}-{self.small()}", self.small()))
            for _ in range(self.rng.randrange(1, 4))
        ]
        return "/".join([self.pick(_ROOTS), *parts]) + self.pick(("", "/", f"/{self.file()}", f"/{self.file()}"))

    def path(self) -> str:
        """Make a path, of Unix mostly."""
        roll = self.rng.random()
        if roll < 0.08:
            return f"C:\\{self.word().title()}\\{self.word()}\\{self.file()}"
        if roll < 0.12:
            return f"{self.pick(_ROOTS)}/{self.pick(_FOREIGN)}/{self.word()}"
        if roll < 0.2:
            return f"{self.pick(('./', '', '../', '~/'))}{self.word()}/{self.file()}"
        return self.relative() if roll < 0.3 else self.unix_path()

    def relative(self) -> str:
        """Make a name of levels, as topics, images and resources have."""
        level = (self.word, self.word, self.numbered, self.identifier, self.small)
        levels = "/".join(self.rng.choice(level)() for _ in range(self.rng.randrange(2, 5)))
        return levels + self.pick(("", "", "", f":{self.version()}", f"@{self.hashed()}", "/"))

    def file(self) -> str:
        """Make a file's name."""
        stem = self.pick(
            (self.word(), self.identifier(), f"{self.word()}-{self.small()}", f"{self.word()}.{self.small()}")
        )
        return f"{stem}.{self.pick(_EXTENSIONS)}"

    # Names

    def word(self) -> str:
        """Make a plain word in lower case."""
        return self.pick(self.words)

    def title(self) -> str:
        """Make a word that begins with a capital, or is all capitals."""
        word = self.word()
        return self.pick((word.title(), word.upper()))

    def foreign(self) -> str:
        """Make a word outside ASCII."""
        return self.pick(_FOREIGN)

    def identifier(self) -> str:
        """Make a programmer's name for something."""
        first, second = self.word(), self.pick((self.word(), self.pick(self.names) or "x"))
        return self.pick(
            (
                f"{first}_{second}",
                f"{first}-{second}",
                f"{first}{second.title()}",
                f"{first}.{second}",
                first,
                f"{first.title()}{second.title()}",
                f"{first}_{second}_{self.small()}",
                f"{first}{self.small()}",
                f"__{first}_{second}",
                f"{first.upper()}_{second.upper()}",
            )
        )

    def dotted(self) -> str:
        """Make a name of parts with dots between, such as a topic's or a setting's."""
        part = (self.word, self.word, self.identifier, self.small, self.title)
        return ".".join(self.rng.choice(part)() for _ in range(self.rng.randrange(2, 5)))

    def composite(self) -> str:
        """Make an identifier of words, numbers and digests with marks between, as clients and sessions have."""
        part = (self.word, self.word, self.small, self.small, self.integer, self.hashed, self.title, self.host)
        text = self.pick(("", "", "", f"{self.title()}:", f"{self.word()}://", "__", "_", "#", "$"))
        marks = self.pick(("-", "-", "_", ":", ":", ".", "@", "#", "$", "-:", "-_", ":-", "-.", "/:", ".:", "+-", "~"))
        text += self.rng.choice(part)()
        for _ in range(self.rng.randrange(1, 6)):
            text += self.pick(marks) + self.rng.choice(part)()
        return text

    def numbered(self) -> str:
        """Make a name with a number, such as `worker-7`."""
        return self.pick(
            (
                f"{self.word()}-{self.small()}",
                f"{self.word()}_{self.integer()}",
                f"{self.word()}{self.small()}",
                f"{self.word()}-{self.word()}-{self.small()}",
                f"{self.word()}#{self.small()}",
                f"{self.word()}-{self.small()}-{self.small()}",
                f"{self.word()}:{self.small()}",
            )
        )

    def hashed(self) -> str:
        """Make a digest or an opaque token."""
        alphabet = self.pick(
            ("0123456789abcdef", string.ascii_letters + string.digits, string.ascii_uppercase + string.digits)
        )
        return self.digits(alphabet, self.rng.choice((6, 8, 12, 16, 20, 32, 40)))

    def uuid(self) -> str:
        """Make a UUID."""
        text = "-".join(self.digits("0123456789abcdef", length) for length in (8, 4, 4, 4, 12))
        return text.upper() if self.rng.random() < 0.1 else text

    def user(self) -> str:
        """Make a user's name."""
        return self.pick(
            (
                self.pick(_USERS),
                self.pick(_USERS),
                self.word(),
                f"{self.word()}.{self.word()}",
                self.email(),
                f"{self.word()}{self.small()}",
                self.foreign(),
            )
        )

    def cls(self) -> str:
        """Make a class's name."""
        name = self.word().title() + self.pick(("", self.word().title())) + self.pick(_CLASS_ENDS)
        full = ".".join([self.pick(_PACKAGES), *(self.word() for _ in range(self.rng.randrange(1, 4))), name])
        return self.pick(
            (
                name,
                full,
                full,
                f"{full}${self.word().title()}",
                f"{name}@{self.hashed()[:8].lower()}",
                f"class {full}",
                f"<class '{full}'>",
                f"<{full} object at 0x7f{self.digits('0123456789abcdef', 10)}>",
                f"{full}.{self.word()}()",
                f"{self.word()}.{self.word()}",
            )
        )

    def version(self) -> str:
        """Make a version."""
        parts = ".".join(self.small() for _ in range(self.rng.randrange(2, 4)))
        return self.pick(
            (
                parts,
                parts,
                f"v{parts}",
                f"{parts}-SNAPSHOT",
                f"{parts}rc{self.small()}",
                f"{parts}+deb12u{self.small()}",
                f"{self.small()}:{parts}-{self.small()}",
            )
        )

    def state(self) -> str:
        """Make a state."""
        return self.pick(_STATES)

    def verb(self) -> str:
        """Make a method of HTTP or a command of a protocol."""
        return self.pick(
            ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "SET", "PING", "SELECT", self.word())
        )

    # Text

    def exception(self) -> str:
        """Make an exception's class, its text, or both."""
        name = self.pick(_EXCEPTIONS)
        if name.endswith("Exception") and self.rng.random() < 0.5:
            name = f"{self.pick(('java.io', 'java.lang', 'java.net', 'org.' + self.word()))}.{name}"
        reason = self.reason()
        return self.pick(
            (
                name,
                reason,
                reason,
                f"{name}: {reason}",
                f"{name}({reason!r})",
                f"[Errno {self.small()}] {reason}",
                f"[Errno {self.small()}] {reason}: '{self.unix_path()}'",
            )
        )

    def reason(self) -> str:
        """Make a reason why something failed."""
        reason = self.pick(_REASONS) if self.rng.random() < 0.5 else self.pick(self.phrases)
        return reason if self.rng.random() < 0.7 else self.caused(reason)

    def caused(self, reason: str) -> str:
        """Put before a reason what was being done, as programs that hand errors upwards do."""
        return self.pick(
            (
                f"{self.word()}: {reason}",
                f"{self.word()} {self.word()}: {reason}",
                f"{self.identifier()}: {self.word()} {self.word()}: {reason}",
                f"dial tcp {self.ip()}:{self.port()}: connect: {reason.lower()}",
                f"{self.pick(('open', 'stat', 'read', 'write', 'mkdir'))} {self.unix_path()}: {reason.lower()}",
                f"rpc error: code = {self.word().title()} desc = {reason}",
                f'{self.pick(("Get", "Post"))} "{self.url()}": {reason}',
                f"{reason}: {self.host()}/{self.ip()}:{self.port()}",
                f"{reason} ({self.small()})",
                f"{self.status()} {self.small()}.{self.small()}.{self.small()} {reason}",
                f"{self.status()} {reason}",
                f"{reason} [{self.identifier()}]",
                f"{self.cls()}: {reason}",
                f"{reason}: {self.quoted()}",
                f"{reason}; {self.phrase()}",
            )
        )

    def phrase(self) -> str:
        """Make some words."""
        return " ".join(self.word() for _ in range(self.rng.randrange(2, 5)))

    def command(self) -> str:
        """Make a command line."""
        first = f"{self.pick(_COMMANDS)} {self.pick((self.path(), self.word()))}"
        return self.pick(
            (
                first,
                first,
                f"{self.unix_path()} --{self.word()}={self.small()} -{self.word()[0]} {self.path()}",
                f"cd {self.unix_path()} && {self.unix_path()} -{self.word()[0]} > /dev/null",
                f"{first} | {self.word()} {self.word()}",
            )
        )

    def quoted(self) -> str:
        """Make a word or phrase in quotes."""
        mark = self.pick(("'", '"', "`"))
        return f"{mark}{self.pick((self.word(), self.phrase(), self.identifier()))}{mark}"

    def method(self) -> str:
        """Make the method of a request."""
        return self.pick(("GET", "GET", "POST", "PUT", "HEAD", "DELETE"))

    def protocol_version(self) -> str:
        """Make the version of HTTP."""
        return self.pick(("1.1", "1.1", "1.0", "2.0"))

    def request(self) -> str:
        """Make the first line of an HTTP request, as access logs have it: its three parts are parameters."""
        return f"{variable(self.method())} {variable(self.route())} HTTP/{variable(self.protocol_version())}"

    def whole_request(self) -> str:
        """Make the first line of an HTTP request that a message quotes as a whole."""
        return f"{self.method()} {self.route()} HTTP/{self.protocol_version()}"

    def agent(self) -> str:
        """Make the name of an HTTP client."""
        version = f"{self.small()}.{self.small()}"
        return self.pick(
            (
                f"curl/{version}",
                f"{self.word()}/{version}",
                f"Mozilla/5.0 (X11; Linux x86_64) {self.word().title()}/{version}",
                f"Mozilla/5.0 (compatible; {self.word().title()}Bot/{version}; +https://{self.word()}.com/bot)",
                "-",
            )
        )

    def sql(self) -> str:
        """Make a statement."""
        table, column = self.identifier(), self.pick(self.names) or "id"
        return self.pick(
            (
                f"SELECT * FROM {table} WHERE {column} = {self.small()}",
                f"insert into {table}({column}) values ('{self.word()}')",
                f"UPDATE {table} SET {column} = '{self.word()}' WHERE id = {self.integer()};",
                f"DELETE FROM {table};",
                "COMMIT",
                "BEGIN",
                f"select count({column}) from {table} t join {self.word()} on t.id = {self.word()}.id",
                f"SELECT {column}, {self.word()} FROM {table}",
            )
        )

    def package(self) -> str:
        """Make the name of a package with its architecture."""
        first, last = self.pick(("lib", "lib", "python3-", "")), self.pick(("", self.small(), "-dev", "-bin"))
        return f"{first}{self.word()}{last}{self.pick(('', ':amd64', ':arm64', ':all'))}"

    # Quantities

    def duration(self) -> str:
        """Make a time span with its unit; a unit that stands apart is constant."""
        number = self.pick((self.small(), self.integer()[:5], f"{self.rng.uniform(0, 100):.2f}"))
        return self.pick(
            (
                f"{number}ms",
                f"{number}s",
                f"{variable(number)} ms",
                f"{variable(number)} {self.pick(('seconds', 'sec', 's', 'minutes', 'hours', 'days'))}",
                f"0:00:{self.rng.randrange(60):02}.{self.rng.randrange(10**6):06}",
                f"{number}us",
                f"PT{number}S",
                f"{self.small()}m{self.small()}s",
                f"{number}ns",
                f"{number}min",
                f"{number}µs",
                f"{self.small()}m{number}s",
                f"{self.small()}h{self.small()}m{self.small()}s",
                f"{self.rng.randrange(24)}:{self.rng.randrange(60):02}:{self.rng.randrange(60):02}",
            )
        )

    def size(self) -> str:
        """Make an amount of data; a unit that stands apart is constant."""
        number = self.pick((self.small(), self.integer()[:4], f"{self.rng.uniform(0, 900):.1f}"))
        unit = self.pick(("B", "KB", "MB", "GB", "KiB", "MiB", "k", "M", "kB"))
        return self.pick((f"{number}{unit}", f"{number}{unit}", f"{variable(number)} {unit}", self.integer()))

    def time(self) -> str:
        """Make a moment, in one of many formats."""
        at = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=self.rng.uniform(0, 4e8))
        clock = at.strftime("%H:%M:%S")
        fraction = self.pick(
            ("", f".{at.microsecond // 1000:03}", f",{at.microsecond // 1000:03}", f".{at.microsecond:06}")
        )
        month = _MONTHS[at.month - 1]
        return self.pick(
            (
                f"{at:%Y-%m-%d} {clock}{fraction}",
                f"{at:%Y-%m-%d}T{clock}{fraction}{self.pick(_ZONES)}",
                f"{clock}{fraction}",
                f"{at:%Y/%m/%d} {clock}",
                f"{month} {at.day:2} {clock}",
                f"{at:%a} {month} {at.day:02} {clock} UTC {at.year}",
                f"{at:%d}/{month}/{at.year}:{clock} +0000",
                f"{at.timestamp():.0f}",
                f"{at.timestamp() * 1000:.0f}",
                f"{at:%Y-%m-%d}",
                f"{at.timestamp():.6f}",
                f"{at:%Y%m%d%H%M%S}",
                f"{at:%Y-%m-%d %H:%M:%S}.{self.rng.randrange(10**9):09} +0000 UTC m=+{self.rng.uniform(0, 9999):.9f}",
                f"{at:%Y-%m-%dT%H:%M:%S}.{self.rng.randrange(10**9):09}Z",
                f"{at:%a}, {at:%d} {month} {at:%Y %H:%M:%S} GMT",
                f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06}+00",
                f"{at:%m/%d/%Y %I:%M:%S %p}",
            )
        )

    # Compounds

    def listing(self) -> str:
        """Make a list, as Python, Java or Go print it."""
        kind = self.rng.choice(
            (self.integer, self.small, self.word, self.numbered, self.identifier, self.socket, self.quoted)
        )
        values = [kind() for _ in range(self.rng.randrange(5))]
        return self.pick(("[{}]", "[{}]", "[{}]", "({})", "{{{}}}", "{}", "Set({})", "List({})", "<{}>")).format(
            self.pick((", ", ", ", ",", " ")).join(values)
        )

    def struct(self, depth: int = 0) -> str:
        """Make an object as its class prints it: variable as a whole, as its fields may change."""
        joint, between, (opening, closing) = self.rng.choice(
            (
                ("=", ", ", "()"),
                ("=", ", ", "[]"),
                ("=", ", ", "{}"),
                (": ", ", ", "{}"),
                (" = ", ", ", "{}"),
                (" = ", ", ", "[]"),
                (":", " ", "{}"),
                ("='", "', ", "{}"),
            )
        )
        fields = between.join(
            f"{self.pick(self.names) or 'id'}{joint}{self.field(depth)}" for _ in range(self.rng.randrange(1, 7))
        )
        owner = self.pick(
            (
                self.word().title() + self.pick(_CLASS_ENDS),
                self.word().title() + self.word().title() + self.pick((" ", "")),
                self.word().title(),
                f"{self.pick(_PACKAGES)}.{self.word()}.{self.word().title()}@{self.hashed()[:8].lower()}",
                "" if opening == "{" else "Some",
            )
        )
        return f"{owner}{opening}{fields}{closing}"

    def field(self, depth: int) -> str:
        """Make what a field of an object holds: another object at times, or nothing."""
        roll = self.rng.random()
        if roll < 0.12 and depth < 2:
            return self.struct(depth + 1)
        if roll < 0.2:
            return self.pick(("null", "[]", "", "None", "Optional.empty", "{}", "nil"))
        return self.listing() if roll < 0.26 else self.scalar()

    def pairs(self) -> str:
        """Make a dictionary of Python, Go or JSON: variable as a whole, as its keys are values too."""
        mark, joint = self.rng.choice((("'", ": "), ('"', ": "), ('"', ":"), ("", ":"), ("", "=")))
        fields = ("," if joint == ":" and mark else ", ").join(
            f"{mark}{self.pick(self.names) or 'id'}{mark}{joint}{self.field(1)}"
            for _ in range(self.rng.randrange(1, 6))
        )
        return self.pick(("", "", "map[{}]" if not mark else "")).format(fields) or f"{{{fields}}}"

    def scalar(self) -> str:
        """Make a short value of any kind, without white space."""
        kind = self.rng.choice(
            (
                self.integer,
                self.small,
                self.word,
                self.identifier,
                self.numbered,
                self.boolean,
                self.ip,
                self.hashed,
                self.state,
                self.decimal,
                self.socket,
                self.uuid,
                self.path,
                self.host,
                self.composite,
                self.dotted,
            )
        )
        return kind().replace(" ", "")

    def anything(self) -> str:
        """Make any kind of value."""
        kind: Callable[[], str] = self.rng.choice(
            (
                self.integer,
                self.small,
                self.word,
                self.word,
                self.identifier,
                self.identifier,
                self.numbered,
                self.path,
                self.ip,
                self.host,
                self.uuid,
                self.hashed,
                self.cls,
                self.user,
                self.state,
                self.title,
                self.foreign,
                self.socket,
                self.file,
                self.listing,
                self.struct,
                self.boolean,
                self.nothing,
                self.quoted,
                self.phrase,
                self.duration,
                self.size,
                self.time,
                self.version,
                self.url,
                self.composite,
                self.relative,
                self.dotted,
            )
        )
        return kind()
