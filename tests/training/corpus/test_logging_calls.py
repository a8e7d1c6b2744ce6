"""Templates, names and types as the sources of all languages give them."""

import pytest

from training.corpus.logging_calls import Draft, Package, Variable, accessor_name, finished, type_name

APP = Package(name="app", version="1", licence="MIT", language="go")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["block", "getSize()"], "size"),
        (["self", "host"], "host"),
        (["e"], "e"),
        (["rows", "size()"], "count"),
        (["size()"], "size"),
        (["user", "name"], "user_name"),
        (["this", "clusterState", "getVersion()"], "clusterStateVersion"),
        (["c", "ID"], "id"),
        (["req", "URLPath"], "urlPath"),
        (["MAX_SIZE"], "max_size"),
        (["path", "display()"], "path"),
        (["e", "getMessage()"], "message"),
        (["getClass()", "getName()"], "class_name"),
        (["_peer", "to_string()"], "peer"),
        (["self", "0"], ""),
        ([], ""),
    ],
)
def test_the_last_telling_accessor_names_a_value(words: list[str], expected: str) -> None:
    """Conversions and `get` are taken off; a word that says little takes its owner's."""
    assert expected == accessor_name(words)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("long", "int"),
        (": string | undefined", "str"),
        ("Option<&'static str>", "str"),
        ("Arc<Vec<u8>>", "list"),
        ("java.util.Map<String, Integer>", "map"),
        ("[]string", "list"),
        ("*time.Duration", "Duration"),
        ("map[string]int", "map"),
        ("Node[]", "list"),
        ("std::net::SocketAddr", "SocketAddr"),
        ("T", ""),
        ("any", ""),
    ],
)
def test_types_are_told_alike_for_all_languages(declared: str, expected: str) -> None:
    """References, packages and type arguments are taken off, and each language's words for numbers and text are one."""
    assert expected == type_name(declared)


def test_a_draft_closes_without_colours_and_line_breaks() -> None:
    """What only a terminal sees is no part of a template, and a conversion tells a type where no declaration did."""
    draft = Draft.of("\x1b[31mno\n  ")
    draft.variable(Variable(name="n", conversion="d"))
    call = finished(draft, "info", APP)
    assert call is not None
    assert ("no <*>", ("int",)) == (call.text, call.types)


def test_a_page_of_text_is_no_message() -> None:
    """Help texts and banners are dropped."""
    assert finished(Draft.of("word " * 100), "info", APP) is None
