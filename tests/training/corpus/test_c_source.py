"""Logging calls of C: which calls log, at which level, what their templates and their variables are."""

import pytest

from training.corpus.c_source import c_calls
from training.corpus.logging_calls import LoggingCall, Package

PACKAGE = Package(name="pond", version="1.0", licence="ISC", language="c")


def calls_in(body: str) -> list[LoggingCall]:
    """Mine the body of one function."""
    return list(c_calls(f"static void serve(struct peer *peer) {{ {body} }}", PACKAGE))


def call_in(body: str) -> LoggingCall:
    """Mine the one call of a body."""
    (call,) = calls_in(body)
    return call


def test_call_is_template_with_names_and_conversions() -> None:
    """A call of syslog gives the text around its values, and what they are called and printed as."""
    call = call_in('syslog(LOG_NOTICE, "peer %s left after %lu frames, %.2f%% lost\\n", peer->host, frames, lost);')
    assert "peer <*> left after <*> frames, <*>% lost" == call.text
    assert ("host", "frames", "lost") == call.names
    assert ("s", "d", ".2f") == call.conversions
    assert ("", "int", "float") == call.types
    assert ("info", "c", "pond", "ISC") == (call.level, call.language, call.package, call.licence)


@pytest.mark.parametrize(
    ("call", "level"),
    [
        ('log_warnx("no frog today");', "warn"),
        ('serverLog(LL_WARNING, "no frog today");', "warn"),
        ('pondLogDebug("no frog today");', "debug"),
        ('logger->fatal("no frog today");', "fatal"),
        ('ngx_log_error(NGX_LOG_EMERG, log, 0, "no frog today");', "error"),
        ('Debug(LDAP_DEBUG_TRACE, "no frog today");', "trace"),
        ('lprintf(LOG_WARNING, "no frog today");', "warn"),
        ('Log3(PCSC_LOG_CRITICAL, "no frog today");', "fatal"),
        ('verbose(VERB_ALGO, "no frog today");', "debug"),
        ('log_msg(current_level, "no frog today");', "info"),
        ('fprintf(stderr, "no frog today");', "error"),
        ('pond_set_error_message(pond, "no frog today");', "raise"),
        ('THROW(FrogError, "no frog today");', "raise"),
    ],
)
def test_level_comes_from_argument_or_name(call: str, level: str) -> None:
    """A constant among the arguments chooses the level, else the name of the function does."""
    assert ("no frog today", level) == (call_in(call).text, call_in(call).level)


@pytest.mark.parametrize(
    "call",
    [
        'snprintf(buffer, size, "frog %s", name);',
        'catalog_open("frogs of the pond");',
        'fprintf(out, "frog %s", name);',
        'log_set_name("frogs of the pond");',
        "y = log(x);",
        'log_info("frog");',
        'log_info("%s", frog);',
        'fprintf(stderr, "usage: %s [-f frog]", name);',
        'log_info("frog %s and %s", frog);',
        'log_info(QUOTED(pond) " has %s", frog);',
    ],
)
def test_other_calls_are_left_out(call: str) -> None:
    """What only looks like logging, says nothing, or has values missing gives no template."""
    assert [] == calls_in(call)


def test_help_is_no_log() -> None:
    """What a function of help writes to stderr is no log."""
    assert [] == list(c_calls('static int print_usage(void) { fprintf(stderr, "frogs may be counted"); }', PACKAGE))


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("s->name", "name"),
        ("inet_ntoa(sin.sin_addr)", "sin_addr"),
        ("ntohs(peer->port)", "port"),
        ("strerror(errno)", "error"),
        ("(unsigned long)frogs", "frogs"),
        ("*frogs", "frogs"),
        ("frogs[0]", "frogs"),
        ("host.data", "host"),
        ("getpid()", "pid"),
        ("frog_get_colour(frog)", "colour"),
        ("host ? host : fallback", "host"),
        ('wet ? "yes" : "no"', "wet"),
        ("limit - used", "limit"),
        ("MAX_FROGS", "max_frogs"),
        ("STRING(host)", "host"),
        ("__LINE__", "line"),
        ("sizeof(frog)", "size"),
        ("7", ""),
    ],
)
def test_name_comes_from_expression(expression: str, name: str) -> None:
    """A value is named by what leads to it: conversions are passed over, getters lose their verb."""
    assert (name,) == call_in(f'log_info("is %s", {expression});').names


def test_adjacent_literals_are_joined() -> None:
    """Literals side by side are one text, also around a macro that ends a conversion."""
    call = call_in('log_info("took %" PRIu64 " of "\n "%" PRIx32 " bytes", taken, size);')
    assert "took <*> of <*> bytes" == call.text
    assert ("d", "x") == call.conversions


def test_macro_between_literals_is_variable() -> None:
    """A macro whose text the file doesn't tell stands for a variable that takes no argument."""
    call = call_in('log_info("pond " POND_VERSION " has %d frogs", frogs);')
    assert ("pond <*> has <*> frogs", ("pond_version", "frogs")) == (call.text, call.names)


def test_constant_value_is_text() -> None:
    """A constant text given for a conversion is part of the template, and so is the name of the function."""
    assert "serve: frog is green" == call_in('log_info("%s: frog is %s", __func__, "green");').text


def test_width_from_argument_takes_no_variable() -> None:
    """A `*` takes an argument that is no variable of the text."""
    call = call_in('log_info("read %.*s from %s", length, text, peer);')
    assert ("read <*> from <*>", ("text", "peer")) == (call.text, call.names)


def test_text_is_the_one_whose_conversions_fit() -> None:
    """Of several texts the template is the one that takes all arguments after it."""
    assert "port <*> is up" == call_in('log_debug("netlink", "port %s is up", port->name);').text


def test_constants_after_plain_text_are_no_values() -> None:
    """A status to exit with may follow a text that takes no values."""
    assert "no frog today" == call_in('fatal("no frog today", EX_USAGE);').text


def test_text_in_brackets_of_its_own_is_found() -> None:
    """Old macros take the whole list in a second pair of brackets."""
    assert "<*> frogs left" == call_in('DPRINTF(("%d frogs left", frogs));').text


def test_nginx_has_its_own_conversions() -> None:
    """Counted strings, sizes and lengths print in nginx's own way; errno's text is added where there is one."""
    call = call_in(
        'ngx_log_error(NGX_LOG_ERR, log, ngx_errno, "\\"%V\\" took %ui of %O at %*s%N", &name, n, rest, len, at);'
    )
    assert '"<*>" took <*> of <*> at <*>  (<*>: <*>)' == call.text
    assert ("name", "n", "rest", "at", "errno", "error") == call.names
    assert ("s", "d", "d", "s", "d", "") == call.conversions


def test_each_part_of_ereport_is_a_line() -> None:
    """The parts of one report are lines of their own, at the level of the report; the singular stands for both."""
    calls = calls_in(
        'ereport(WARNING, (errcode(E_FROG), errmsg("could not catch \\"%s\\": %m", frog_name(frog)),'
        ' errdetail_plural("%d frog left.", "%d frogs left.", n, n)));'
    )
    assert ['could not catch "<*>": <*>', "<*> frog left."] == [call.text for call in calls]
    assert ["warn", "warn"] == [call.level for call in calls]
    assert ("frog", "error") == calls[0].names


@pytest.mark.parametrize("call", ['err(1, "open %s", path);', 'warn("open %s", path);'])
def test_errno_is_appended(call: str) -> None:
    """Functions as those of <err.h> end the line with the text of errno."""
    found = call_in(call)
    assert ("open <*>: <*>", ("path", "error"), ("", "error")) == (found.text, found.names, found.types)


def test_translated_text_is_found() -> None:
    """A text that is looked up in another language is the text."""
    assert "no frog <*>" == call_in('log_err(_("no frog %s"), frog);').text
