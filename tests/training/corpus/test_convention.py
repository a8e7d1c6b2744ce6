"""The convention of published labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus.convention import corrected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("  two   blanks\tand a tab ", "two blanks and a tab"),
        ("open /etc/hosts: gone", "open <*>: gone"),
        ("open '/srv/<*>/a.b-c' (/var/lib/)", "open '<*>' (<*>)"),
        ("see http://example.org/a", "see http://example.org/a"),
        ("relative a/b/<*> and/or", "relative a/b/<*> and/or"),
        ("append=true sync=False", "append=<*> sync=<*>"),
        ("owner root, not administrator", "owner <*>, not administrator"),
        ("value null of Admin", "value <*> of <*>"),
        ("exit 15 of v2 in HTTP/1.1", "exit <*> of v2 in HTTP/1.<*>"),
        ("block blk_<*> took <*>ms", "block <*> took <*>"),
        ("on node-<*> as user@<*>", "on node-<*> as user@<*>"),
        ("from <*>.<*>:<*> to <*><*>", "from <*> to <*>"),
        ("from <*>: <*>, <*>-<*>", "from <*>: <*>, <*>-<*>"),
        ("at <*>:8080 or 10.0.0.1", "at <*> or <*>"),
        ("*<*> open <<*>> in /srv/", "<*> open <*> in <*>"),
    ],
)
def test_rules(template: str, expected: str) -> None:
    """Each rule of the convention changes what it names, and nothing else."""
    assert expected == corrected(template)


@given(st.lists(st.sampled_from(["<*>", "a", "7", "true", "/", ".", ":", "-", " ", "_", "="])).map("".join))
def test_corrected_stays(template: str) -> None:
    """A corrected template is not changed by correcting it again."""
    once = corrected(template)
    assert once == corrected(once)
