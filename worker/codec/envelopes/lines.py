"""Envelopes that are a line: CRI's container logs and syslog of RFC 3164 and RFC 5424. The reference."""

import re
from dataclasses import dataclass

from worker.codec.envelopes.values import Entry, members, time_of, written_time
from worker.errors import Undecodable
from worker.parsing.headers.levels import severity_of_priority
from worker.parsing.timestamps import NO_TIME, Zone

_UTC = Zone(name="UTC", changes=(), offsets=(0,))
_CRI = re.compile(rb"([0-9T:.+Z-]{20,40}) (stdout|stderr) ([PF])(?::[^ ]*)?(?: (.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class CriEnvelope:
    """`<time> <stdout|stderr> <P|F> <text>`: P says that the line goes on in the stream's next record."""

    reserved: frozenset[str]

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return the record's one entry; Raises Undecodable."""
        del record_time_ms
        line = _CRI.fullmatch(value.removesuffix(b"\n").removesuffix(b"\r"))
        timestamp = time_of(line[1].decode(), _UTC) if line else NO_TIME
        if line is None or timestamp == NO_TIME:
            raise Undecodable("not CRI: no `<time> <stdout|stderr> <P|F> <text>`")
        attributes = members({"stream": line[2].decode()}, self.reserved)
        return [Entry(text=line[4] or b"", attributes=attributes, timestamp=timestamp, partial=line[3] == b"P")]


_PRIORITY = re.compile(rb"<(\d{1,3})>(?:([1-9]\d{0,2}) )?")
#: RFC 5424: time, host, application, process, message id, then structured data or nil. What is read here and below is
#: never given back: a line that goes wrong late takes no longer than another one.
_RFC5424 = re.compile(
    rb"(\S{1,48}) (\S{1,255}) (\S{1,255}) (\S{1,128}) (\S{1,128}) "
    rb"(?:-|((?:\[(?:[^\"\]]++|\"(?:[^\"\\]++|\\.)*+\")*+\])++))(?: (.*))?",
    re.DOTALL,
)
_ELEMENT = re.compile(r"\[([^\s\]]+)((?:[^\"\]]++|\"(?:[^\"\\]++|\\.)*+\")*+)\]", re.DOTALL)
_PARAMETER = re.compile(r"(?<![^\s=\"])([^\s=\"]++)=\"((?:[^\"\\]++|\\.)*+)\"", re.DOTALL)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RFC3164_TIME = re.compile(
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ \d]\d) (?:(\d{4}) )?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?:? "
)
_ISO_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT[0-9:.+Zz-]{8,30}) ")
_TAG = re.compile(rb"(?:(\S{0,254}[^\s:]) )?([^\s:\[]{1,64})(?:\[([^\]\s]{0,64})\])?:(?: |$)(.*)", re.DOTALL)
_HOST = re.compile(rb"(\S{1,255}) (.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class SyslogEnvelope:
    """RFC 5424 after `<PRI>1 `, else RFC 3164, leniently: time, host and tag may be missing."""

    #: The zone of times that name none.
    zone: Zone
    reserved: frozenset[str]

    def decode(self, value: bytes, record_time_ms: int) -> list[Entry]:
        """Return the record's one entry; Raises Undecodable."""
        line = value.rstrip(b"\r\n\0")
        priority = _PRIORITY.match(line)
        if priority and int(priority[1]) > 191:
            raise Undecodable(f"not syslog: priority {int(priority[1])} is over 191")
        facility: dict[str, object] = {} if priority is None else {"syslog.facility": int(priority[1]) >> 3}
        severity = 0 if priority is None else severity_of_priority(int(priority[1]) & 7)
        if priority and priority[2]:
            return [self._rfc5424(line[priority.end() :], int(priority[2]), facility, severity)]
        rest = line[priority.end() :] if priority else line
        timestamp, rest, dated = self._rfc3164_time(rest, record_time_ms)
        if priority is None and not dated:
            raise Undecodable("not syslog: neither `<PRI>` nor a time at its start")
        if not dated:  # section 4.3.3: what can't be read is all message
            return [self._entry(rest, facility, NO_TIME, severity)]
        if tagged := _TAG.fullmatch(rest):
            facility |= _named("host.name", tagged[1]) | _named("process.name", tagged[2]) | _process(tagged[3])
            return [self._entry(tagged[4], facility, timestamp, severity)]
        if hosted := _HOST.fullmatch(rest):
            return [self._entry(hosted[2], facility | _named("host.name", hosted[1]), timestamp, severity)]
        return [self._entry(rest, facility, timestamp, severity)]

    def _entry(self, text: bytes, fields: dict[str, object], timestamp: int, severity: int) -> Entry:
        return Entry(text=text, attributes=members(fields, self.reserved), timestamp=timestamp, severity=severity)

    def _rfc5424(self, rest: bytes, version: int, fields: dict[str, object], severity: int) -> Entry:
        line = _RFC5424.fullmatch(rest)
        if line is None:
            raise Undecodable("not RFC 5424: after `<PRI>VERSION ` time, host, application, process, id and data")
        written, host, application, process, message_id, data, text = line.groups()
        timestamp = time_of(written.decode(errors="replace"), self.zone)
        if timestamp == NO_TIME and written != b"-":
            raise Undecodable(f"not RFC 5424: {written.decode(errors='replace')!r} is no time")
        fields |= {} if version == 1 else {"syslog.version": version}
        fields |= _named("host.name", host) | _named("process.name", application) | _process(process)
        fields |= _named("syslog.msgid", message_id)
        if data:
            fields["syslog.structured_data"] = _structured_data(data.decode(errors="replace"))
        # rsyslog passes on the space that stood between tag and text in RFC 3164: it would look like an indented line.
        return self._entry((text or b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b" "), fields, timestamp, severity)

    def _rfc3164_time(self, rest: bytes, record_time_ms: int) -> tuple[int, bytes, bool]:
        """Return the time, what follows it, and whether there is one."""
        if old := _RFC3164_TIME.match(rest):
            month, day, year, hour, minute, second, fraction = ((part or b"").decode() for part in old.groups())
            fields = (year or "0", str(_MONTHS.index(month) + 1), day, hour, minute, second)
            timestamp = written_time(fields, fraction, None, self.zone, record_time_ms * 1_000_000)
            return (NO_TIME, rest, False) if timestamp is None else (timestamp, rest[old.end() :], True)
        if new := _ISO_TIME.match(rest):
            timestamp = time_of(new[1].decode(), self.zone)
            if timestamp != NO_TIME:
                return timestamp, rest[new.end() :], True
        return NO_TIME, rest, False


def _named(name: str, value: bytes | None) -> dict[str, object]:
    return {name: value.decode(errors="replace")} if value and value != b"-" else {}


def _process(value: bytes | None) -> dict[str, object]:
    """Name a process by its number, or as syslog does where it is none."""
    if value and len(value) <= 18 and value.isdigit():
        return {"process.pid": int(value)}
    return _named("syslog.procid", value)


def _structured_data(data: str) -> dict[str, dict[str, str]]:
    """Read structured data as an object per element; only `"`, `]` and the backslash itself are escaped."""
    return {
        element[1]: {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in _PARAMETER.findall(element[2])}
        for element in _ELEMENT.finditer(data)
    }
