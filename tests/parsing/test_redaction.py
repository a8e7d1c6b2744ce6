"""What is found by its form, by its key or by its name, and what is not."""

import hashlib

import pytest

from worker.parsing.redaction import KINDS, PSEUDONYM_DIGITS, Redaction, Way, kind_of_name
from worker.parsing.templates import Template

MASKED = Redaction(ways=dict.fromkeys(KINDS, "mask"))

#: A line as it comes, and as it leaves.
FOUND = [
    ("Failed password for bob from 10.0.0.7 port 22 ssh2", "Failed password for <user> from <ip> port 22 ssh2"),
    ("connect 010.001.000.255:8080 refused.", "connect <ip>:8080 refused."),
    ("host10.1.2.3up", "host<ip>up"),
    (r"a\n10.0.0.7\tb", r"a\n<ip>\tb"),
    ("from 2001:db8::1, then [fe80::1%eth0]:22 and ::1", "from <ip>, then [<ip>%eth0]:22 and <ip>"),
    ("addr:2001:db8:0:0:0:0:0:1: closed", "addr:<ip>: closed"),
    ("::ffff:10.0.0.7 said", "::ffff:<ip> said"),
    ("mail from <bob.smith+x@mail.example.com>.", "mail from <<email>>."),
    ("müller@example.de wrote", "<email> wrote"),
    ("paid with 4111 1111 1111 1111 12/27", "paid with <card_number> 12/27"),
    ("paid with 5500-0000-0000-0004, amex 378282246310005", "paid with <card_number>, amex <card_number>"),
    ("GET https://bob:s3cret@example.com/x", "GET https://<user>:<token>@example.com/x"),
    ("redis://:s3cret@10.0.0.7:6379/0", "redis://:<token>@<ip>:6379/0"),
    ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2ln-_x now", "got <token> now"),
    ("sent Bearer a1b2c3d4e5f6 to", "sent Bearer <token> to"),
    ("curl -u 'basic dXNlcjpwYXNz' x", "curl -u 'basic <token>' x"),
    ("key AKIAIOSFODNN7EXAMPLE used", "key <token> used"),
    ("push with ghp_16C7e42F292c6912E7710c838347Ae178B4a", "push with <token>"),
    ("secret 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 end", "secret <token> end"),
    ("t=Qm9vYmFyMTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A= ok", "t=<token> ok"),
    ("nonce 0123456789abcdef0123456789abcdef0123456789abcdef ok", "nonce <token> ok"),
    ("user=bob uid=0 logged in", "user=<user> uid=<user> logged in"),
    ('{"userName": "Bob Smith", "password":"x\\"y", "n": 3}', '{"userName": "<user>", "password":"<token>", "n": 3}'),
    (r'body="{\"user\":\"bob\",\"token\":\"x y\"}"', r'body="{\"user\":\"<user>\",\"token\":\"<token>\"}"'),
    (
        "db_password: hunter2, X-Api-Key: abc; sessionId=9",
        "db_password: <token>, X-Api-Key: <token>; sessionId=<token>",
    ),
    ("mysql --password hunter2 --user bob", "mysql --password <token> --user <user>"),
    ("Authorization: Digest username=x, realm=y\nnext", "Authorization: <token>\nnext"),
    ("Login: user=<cora>, method=PLAIN", "Login: user=<<user>>, method=PLAIN"),
    ("imap-login: Login: user=<cora>, method=PLAIN", "imap-login: Login: user=<<user>>, method=PLAIN"),
    ('login: user="bob smith" password=<x>', 'login: user="<user>" password=<<token>>'),
    ("Cookie: a=1; b=2", "Cookie: <token>"),
    ("?page=2&token=abc&user=bob HTTP/1.1", "?page=2&token=<token>&user=<user> HTTP/1.1"),
    ("email=bob@localhost pan=4111111111111112", "email=<email> pan=<card_number>"),
    ("email=bob@" + "\u00e4" * 300 + ", next", "email=<email>, next"),
    ("user=" * 200 + "<", "user=<user><"),
    ("Failed password for invalid user admin from 10.0.0.7", "Failed password for invalid user <user> from <ip>"),
    (
        "session opened for user bob(uid=7) by root(uid=0)",
        "session opened for user <user>(uid=<user>) by <user>(uid=<user>)",
    ),
    ("New session 4 of user bob.", "New session 4 of user <user>."),
    ("sudo: bob : TTY=pts/0 ; PWD=/srv ; USER=root", "sudo: <user> : TTY=pts/0 ; PWD=/srv ; USER=<user>"),
    ('10.0.0.7 - bob [12/Nov/2026:10:14:02 +0000] "GET /"', '<ip> - <user> [12/Nov/2026:10:14:02 +0000] "GET /"'),
    ("denied for user 'bob'@'10.0.0.7'", "denied for user '<user>'@'<ip>'"),
    (
        'FATAL: role "bob", user "bob smith" with PASSWORD \'x\'',
        'FATAL: role "bob", user "<user>" with PASSWORD \'<token>\'',
    ),
    ("curl -u bob:s3cret https://example.com", "curl -u <user>:<token> https://example.com"),
    ("User Id=sa; API key: abc; session id: 9", "User Id=<user>; API key: <token>; session id: <token>"),
    ('"Authorization":["Bearer a1b2c3d4e5f6"], "user":["bob"]', '"Authorization":["<token>"], "user":["<user>"]'),
    ("signing secret " + "0a" * 32 + " rotated", "signing secret <token> rotated"),
]

#: Lines that leave as they come.
NOT_FOUND = [
    "user=<user> token=<> password=<token>",
    "version 1.2.3.4.5 and 1.2.3, 256.1.1.1, 10.0.0",
    "at 12:34:56 std::add Foo::add1 a::b 00:1a:2b:3c:4d:5e",
    "root@db1 package@1.2.3 @Override a@b",
    "id 1234567890123456789 took 4111111111111112 ns at 1700000000000",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 of d41d8cd98f00b204e9800998ecf8427e",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "request 123e4567-e89b-12d3-a456-426614174000 blk_-1608999687919862906",
    "/usr/lib/python3.11/site-packages/Foo/BarBazQuxHandlerFactory2.py",
    "org.apache.hadoop.hdfs.server.namenode.FSNamesystem$Http2ConnectionHandlerFactory01",
    "pod web-7d4b9c6f5d-x2x7p on ip-10-0-0-7.ec2.internal",
    "Bearer authentication failed, Basic Authentication required",
    "user=null token: none password=*** session=- user=<user>",
    "max_tokens=5 user_count=3 Token::next(x) http://example.com/token/",
    "useragent=curl tokens: 7 passwords=2 users: 4",
    "imap-login: Info: 5, last login: never, password=[FILTERED] PWD=/srv",
    "for user experience, by user request, of users, cancelled by user",
    "wwn 50:06:01:60:3b:20:11:aa on getty@tty1.service",
    "10.0.0 - - [12/Nov/2026:10:14:02 +0000] ls -u 5 Unexpected token '<'",
    'secret "web-tls" not found, digest ' + "0a" * 32,
]


@pytest.mark.parametrize(("line", "redacted"), FOUND)
def test_values_are_found(line: str, redacted: str) -> None:
    """Each value is replaced by its kind, and nothing around it changes."""
    assert redacted == MASKED.redacted(line.encode()).decode()


@pytest.mark.parametrize("line", NOT_FOUND)
def test_what_only_looks_alike_stays(line: str) -> None:
    """Versions, clocks, digests, UUIDs, paths, names of classes and empty values are no values to hide."""
    assert line == MASKED.redacted(line.encode()).decode()


def test_only_what_is_asked_for() -> None:
    """Kinds that are not named stay as they are."""
    line = b"user=bob from 10.0.0.7"
    assert Redaction(ways={"user": "mask"}).redacted(line) == b"user=<user> from 10.0.0.7"
    assert Redaction(ways={}).redacted(line) == line


def test_pseudonyms_are_those_of_hashlib() -> None:
    """Anybody with the key can tell a pseudonym: BLAKE2b with the kind as its person."""
    redaction = Redaction(ways={"user": "hash"}, key=b"0123456789abcdef")
    expected = hashlib.blake2b(b"bob", key=b"0123456789abcdef", person=b"user", digest_size=8).hexdigest()
    assert redaction.redacted(b'user="bob"') == b'user="<user:%b>"' % expected.encode()
    assert len(expected) == PSEUDONYM_DIGITS


def test_of_two_kinds_the_longer_value_counts() -> None:
    """Values that overlap are one: of the longest's kind, by its form before its key."""
    assert MASKED.redacted(b"user=bob@example.com") == b"user=<email>"
    assert MASKED.redacted(b"user='Bob <bob@example.com>'") == b"user='<user>'"


def test_kinds_have_pseudonyms_of_their_own() -> None:
    """A user and a token that read alike are told apart; another key gives other pseudonyms."""
    ways: dict[str, Way] = dict.fromkeys(KINDS, "hash")
    one, other = Redaction(ways=ways, key=b"k" * 16), Redaction(ways=ways, key=b"l" * 16)
    written = {redaction.written(kind, b"alike") for redaction in (one, other) for kind in range(len(KINDS))}
    assert len({text.partition(b":")[2] for text in written}) == 2 * len(KINDS)


def test_names_tell_kinds() -> None:
    """All words of a name are asked, then the last two, then the last."""
    told = {name: kind_of_name(name) for name in ("client_user_name", "apiKey", "x.auth-token", "user_agent", "", "id")}
    assert [None if kind is None else KINDS[kind] for kind in told.values()] == [
        "user",
        "token",
        "token",
        None,
        None,
        None,
    ]


def test_a_template_is_written_without_values() -> None:
    """Constants are redacted as messages are; the id is that of what is written, parameters stay."""
    template = Template.from_text("user=<*> mailed bob@example.com from 10.0.0.7 in <*> ms")
    redacted = MASKED.template(template)
    assert redacted.text == "user=<*> mailed <email> from <ip> in <*> ms"
    assert redacted.id == Template.from_text(redacted.text).id != template.id
    plain = Template.from_text("took <*> ms")
    assert MASKED.template(plain) is plain


def test_a_value_in_a_constant_is_cut_out() -> None:
    """A new template has no value in its constants, whole or in part; other parameters keep their names."""
    message = b"bob@example.com from 10.0.0.7 took 12 ms"
    cut = Template.cut(message, [(4, 11), (35, 37)])
    named = Template(literals=cut.literals, spacious=cut.spacious, names=("domain", "duration"))
    recut = MASKED.cut(message, named)
    assert (recut.text, recut.names) == ("<*> from <*> took <*> ms", ("email", "ip", "duration"))
    same = Template.cut(b"from 10.0.0.7", [(5, 13)])
    assert MASKED.cut(b"from 10.0.0.7", same) is same


def test_a_message_of_values_alone_keeps_its_cut() -> None:
    """Where no letter would be left the model's cut stands."""
    cut = Template.cut(b"bob@example.com", [])
    assert MASKED.cut(b"bob@example.com", cut) is cut
