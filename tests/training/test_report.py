"""The page and the picture of an evaluation, from its JSON."""

import json
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from training.evaluation.mistakes import NO_TEMPLATE, TOO_NARROW, Mistake
from training.evaluation.summary import summary
from training.report import kinds_of, main, page, picture, shots_of, systems_of

#: Elements of HTML that have no end, or may leave it out.
_OPEN = frozenset({"meta", "br", "td", "th", "html"})


def report(*, shots: tuple[int, ...] = (4, 32)) -> dict[str, Any]:
    """Make the report of an evaluation of two systems, with a mistake in each and one failure."""
    names = [f"fine-tune, {count} shots" for count in shots]
    figures = dict.fromkeys(("GA", "FGA", "PA", "FTA", "rest.PA"), 0.5)
    summaries = [summary(name, [(s, seed, {**figures}) for s in ("A", "B") for seed in (1, 2)]) for name in names]
    wrong = [
        Mistake(kind=TOO_NARROW, lines=3, message="user <b>", oracle="user <*>", predicted="user <b>"),
        Mistake(kind=NO_TEMPLATE, lines=1, message="x\udcff", oracle="x\udcff", predicted=None),
    ]
    runs = [
        {
            "trial": {"system": system, "method": "fine-tune", "shots": count, "seed": seed},
            "lines": 10,
            "kinds": {TOO_NARROW: 3, NO_TEMPLATE: 1},
            "mistakes": [asdict(mistake) for mistake in wrong],
        }
        for count in shots
        for seed in (1, 2)
        for system in ("A", "B")
    ]
    return {
        **summaries[0].part(""),
        "rest": summaries[0].part("rest."),
        "parser": names[0],
        "variants": [asdict(one) for one in summaries],
        "peers": [asdict(summary("Drain3", [("A", 0, {"PA": 0.25})]))],
        "failed": [{"name": "B-fine-tune-4-3", "reason": "it <broke>"}],
        "runs": runs,
        "machine": {"processor": "c", "cores": 2, "jobs": 2, "gpu": None, "device": "cpu", "torch": "2"},
        "label_version": {"A.csv": "00ff"},
        "date": "2026-01-01",
        "commit": "0123",
        "model": "base-1",
        "command": "python -m training.evaluate DATA",
    }


class Elements(HTMLParser):
    """Checks that elements are closed in order, and collects what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element, and what it loads."""
        if tag not in _OPEN:
            self.opened.append(tag)
        self.references += [value for name, value in attrs if name in {"src", "href"} and value is not None]

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if tag not in _OPEN:
            assert tag == self.opened.pop()


def test_the_page_needs_nothing_else() -> None:
    """The page is whole, its elements are closed, and all that it refers to lies in itself."""
    elements = Elements()
    elements.feed(page(report()))
    assert [] == elements.opened
    assert all(reference.startswith(("#", "http://www.w3.org")) for reference in elements.references)


def test_the_page_shows_mistakes_and_failures() -> None:
    """Each pair of templates stands there once, escaped, with its lines a seed, and so does what failed."""
    text = page(report())
    assert "<code>user &lt;b&gt;</code>" in text
    assert "user <i>&lt;*&gt;</i>" in text
    assert "Failed: B-fine-tune-4-3: it &lt;broke&gt;" in text
    assert f"<h3>{TOO_NARROW}: 6 lines</h3>" in text
    assert 1 == text.count("A<br>3.0 lines<td>message: <code>user")


def test_what_is_drawn() -> None:
    """Systems in order of name, shots in order of number, kinds as shares of the lines."""
    found = report(shots=(32, 4))
    assert ["A", "B"] == systems_of(found)
    assert [4, 32] == list(shots_of(found))
    assert 0.3 == pytest.approx(kinds_of(found)["A"][TOO_NARROW])


@pytest.mark.parametrize("shots", [(4, 32), (8,)])
def test_the_picture(shots: tuple[int, ...]) -> None:
    """With several numbers of shots or one, the picture is drawn, and the same again."""
    assert picture(report(shots=shots), "png").startswith(b"\x89PNG")
    assert picture(report(shots=shots), "svg") == picture(report(shots=shots), "svg")


def test_peers_alone() -> None:
    """A report where every trial failed shows the peers."""
    found = report() | {"variants": [], "runs": [], "mean": {}, "rest": {"mean": {}}, "parser": ""}
    assert "Drain3" in page(found)


def test_the_command_draws_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes page and picture from the JSON, and says what it can't read."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report()))
    assert 0 == main([str(path), "--html", str(tmp_path / "new" / "page.html"), "--png", str(tmp_path / "page.png")])
    assert (tmp_path / "new" / "page.html").read_bytes().endswith(b"</html>\n")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert 1 == main([str(tmp_path / "none.json"), "--png", str(tmp_path / "x.png")])
    assert "can't be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(path)])
    assert "--html, --png or both" in capsys.readouterr().err


def test_no_markup_reaches_the_page_raw() -> None:
    """Whatever a log, a label, a file's name or a commit holds, the page shows it and runs nothing of it."""
    hostile = "<script>alert('&amp;')</script>"
    found = report()
    found |= dict.fromkeys(("date", "commit", "model", "command", "parser"), hostile)
    found["label_version"] = {hostile: hostile}
    found["failed"] = [{"name": hostile, "reason": hostile}]
    found["machine"] |= {"processor": hostile, "gpu": hostile, "torch": hostile}
    for run in found["runs"]:
        run["trial"]["system"] = hostile
        for mistake in run["mistakes"]:
            mistake |= {"message": hostile, "oracle": hostile, "predicted": hostile}
    for one in found["peers"]:
        one["name"], one["systems"] = hostile, {hostile: one["systems"]["A"]}
    written = page(found)
    assert "<script" not in written
    assert written.count("&lt;script&gt;") > 10
