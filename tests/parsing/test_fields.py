"""Fields asked for in words: what of an event answers, and how it is found again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.errors import WrongModel, WrongSettings
from worker.parsing.asking import Asker
from worker.parsing.field_prompts import write_field_prompts
from worker.parsing.fields import (
    SHIPPED,
    FieldReader,
    OfBody,
    OfLine,
    OfParameter,
    applied,
    checked_fields,
    decision,
    typed,
)
from worker.parsing.networks import Part, read_network, write_network
from worker.parsing.templates import Template


@pytest.fixture(scope="module")
def asker() -> Asker:
    """Load what ships."""
    return Asker.load(SHIPPED)


def event(template: str, body: str, **header: object) -> dict[str, Any]:
    """Make an event as the worker writes it."""
    made = Template.from_text(template)
    spans = made.match(body.encode())
    assert spans is not None
    parameters = [{"value": body[start:end], "start": start, "end": end} for start, end in spans]
    attributes = {"log.record.template.id": made.id, "log.record.parameters": parameters, "logloom.source": "app"}
    named = {
        name.replace("_", "."): value for name, value in header.items() if name not in {"timestamp", "severity_text"}
    }
    return {**{k: v for k, v in header.items() if k in {"timestamp", "severity_text"}}, "body": body,
            "attributes": {**attributes, **named}}  # fmt: skip


def test_the_body_and_the_header_answer(asker: Asker) -> None:
    """Values are found in the message and in the header, with their types; what is not there gets no attribute."""
    reader = FieldReader(asker, ["date", "log level", "user", "client ip", "client port", "email address"])
    found = event(
        "user=<*> logged in from <*>", "user=bob logged in from 10.1.2.3:4455",
        timestamp="2026-01-02T03:04:05.678Z", severity_text="INFO",
    )  # fmt: skip
    reader.add(found)
    assert {name: value for name, value in found["attributes"].items() if name.startswith("log.record.field.")} == {
        "log.record.field.date": "2026-01-02",
        "log.record.field.log_level": "INFO",
        "log.record.field.user": "bob",
        "log.record.field.client_ip": "10.1.2.3",
        "log.record.field.client_port": 4455,
    }


def test_the_network_is_asked_once_per_template(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second line of a template is cut by what the first decided."""
    reader = FieldReader(asker, ["user"])
    reader.answers(event("user=<*> left", "user=bob left"))
    monkeypatch.setattr(asker, "scores", None)
    assert [answer and answer.text for answer in reader.answers(event("user=<*> left", "user=alice left"))] == ["alice"]


@pytest.mark.parametrize(
    ("span", "kind", "again"),
    [
        ((5, 8), OfBody, "alice"),
        ((14, 22), OfParameter, "192.168.7.9"),
        ((0, 8), OfBody, "user alice"),
        ((6, 8), OfLine, ""),
    ],
)
def test_a_decision_holds_for_other_lines_of_the_template(span: tuple[int, int], kind: type, again: str) -> None:
    """A span is kept relative to literals, or to rules inside a parameter; any other is decided anew each time."""
    made = decision(span, "user bob from 10.0.0.1:80", ((5, 8), (14, 25)))
    assert isinstance(made, kind)
    if not isinstance(made, OfLine):
        answer = applied(made, "user alice from 192.168.7.9:443", ((5, 10), (16, 31)), {})
        assert answer is not None
        assert answer.text == again


def test_wrong_fields_are_refused_all_at_once() -> None:
    """Empty fields and fields of one name are named in one error."""
    with pytest.raises(WrongSettings, match=r"'' names no field.*'client_ip' is asked for more than once"):
        checked_fields(["client ip", " ", "Client IP"])


def test_a_broken_network_is_refused(tmp_path: Path) -> None:
    """A file that is no network stops with what to do about it."""
    (tmp_path / "fields.safetensors").write_bytes(b"no")
    with pytest.raises(WrongModel, match="Copy it again"):
        Asker.load(tmp_path / "fields.safetensors")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda parts: parts.pop("joint_bias"), "networks that answer fields have words"),
        (lambda parts: parts.update(more=parts["words"]), "holds .*more"),
        (lambda parts: parts.update(words=parts["words"][:-1]), "words .* not"),
        (lambda parts: parts.update(slot_weight=parts["slot_weight"][..., :-1]), "slot_weight .* not"),
        (lambda parts: parts.update(query_bias=parts["query_bias"][0]), "query_bias .* not"),
        (lambda parts: parts.update(joint_weight=np.array(1.0)), "a part without a shape"),
        (lambda parts: parts.update(words_scale=parts["words_scale"] * np.nan), "no numbers"),
    ],
)
def test_a_misshapen_network_is_refused(tmp_path: Path, change: Callable[[dict[str, Part]], object], why: str) -> None:
    """Parts that are missing, too many, or do not fit each other stop with what is wrong."""
    about, parts = read_network(SHIPPED, "")
    change(parts)
    write_network(tmp_path / "fields.safetensors", parts, about)
    with pytest.raises(WrongModel, match=why):
        Asker.load(tmp_path / "fields.safetensors")


def test_a_soft_prompt_is_read_in_place_of_words(asker: Asker, tmp_path: Path) -> None:
    """A field that took over another one's words answers as that one does; other fields stay."""
    taught = tmp_path / "taught.safetensors"
    write_field_prompts(taught, {"whoever": asker.queries(["client port"])[0]}, SHIPPED)
    reader = FieldReader.load(["Whoever", "user"], taught=taught)
    found = reader.answers(event("user=<*> logged in from <*>", "user=bob logged in from 10.1.2.3:4455"))
    assert [answer and answer.text for answer in found] == ["4455", "bob"]


@pytest.mark.parametrize(
    ("vectors", "about", "why"),
    [
        ((1, 3, 96), {"network": "0" * 16}, "another network"),
        ((2, 3, 96), {}, "vectors"),
        ((1, 3, 5), {}, "vectors"),
        ((1, 3, 96), {"fields": []}, "names no fields"),
    ],
)
def test_soft_prompts_that_do_not_fit_are_refused(
    tmp_path: Path, vectors: tuple[int, ...], about: dict[str, object], why: str
) -> None:
    """Those of another network, or of another shape, stop with what to do about it."""
    path = tmp_path / "taught.safetensors"
    write_field_prompts(path, {"user": np.zeros((3, 96), np.float32)}, SHIPPED)
    said, _ = read_network(path, "")
    write_network(path, {"vectors": np.zeros(vectors, np.float16)}, {**said, **about})
    with pytest.raises(WrongModel, match=why):
        FieldReader.load(["user"], taught=path)


@pytest.mark.parametrize(
    ("text", "value"), [("17", 17), ("007", "007"), ("1.5", 1.5), ("true", True), ("12 ms", "12 ms")]
)
def test_values_have_types(text: str, value: object) -> None:
    """Numbers and booleans leave as such unless that would lose a digit."""
    assert (typed(text), type(typed(text))) == (value, type(value))
