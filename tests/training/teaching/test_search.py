"""The search varies what a method uses, begins with the given configuration, and goes on after an interruption."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.parsing.checkpoints import CONFIGURATION, OTHER_CONFIGURATION, write_small
from training.labels import Pair
from training.teaching.configuration import METHODS, Configuration
from training.teaching.core import Source
from training.teaching.folds import Score
from training.teaching.search import Job, Search, configuration_of, distributions, parameters_of
from worker.errors import WrongModel, WrongSettings

SHOTS = [
    Pair(message="took 12 ms", template="took <*> ms"),
    Pair(message="user bob", template="user <*>"),
    Pair(message="ready", template="ready"),
    Pair(message="bye a.b", template="bye <*>"),
]
SHORT = Configuration(method="prompt-tune", steps=2, batch_lessons=2)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Describe a search of one trial in this process."""
    (tmp_path / "run").mkdir()
    return Job(
        out=tmp_path / "run",
        sources=(Source(name="app", log=["took 3 ms"], shots=SHOTS),),
        start=write_small(tmp_path / "start"),
        configuration=SHORT,
        device="cpu",
        trials=1,
        deadline=math.inf,
        number=0,
        threads=1,
    )


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("change", [{}, {"layers": 1}, {"lora_rank": 7}, {"steps": 1, "label_smoothing": 0.9}])
def test_the_given_configuration_is_a_point_of_the_search(method: str, change: dict[str, float]) -> None:
    """Whatever is given can be written as a point within the limits, and read back."""
    given = replace(Configuration(), method=method, **change)  # type: ignore[arg-type]
    found = distributions(given, CONFIGURATION)
    point = parameters_of(given, list(found))
    assert all(found[name]._contains(found[name].to_internal_repr(value)) for name, value in point.items())
    assert given == configuration_of(given, point)


@pytest.mark.parametrize(
    ("method", "used", "unused"),
    [
        ("fine-tune", {"learning_rate", "trained"}, {"prompt_learning_rate", "prompt_length", "order"}),
        ("prompt-tune", {"prompt_learning_rate", "prompt_length", "prefix_length"}, {"learning_rate", "trained"}),
        ("fuse", {"learning_rate", "trained", "prompt_learning_rate", "prefix_length", "order"}, set()),
    ],
)  # fmt: skip
def test_only_what_the_method_uses_is_varied(method: str, used: set[str], unused: set[str]) -> None:
    """Prompts are nothing to fine-tune, nor the encoder's learning rate to prompt-tune."""
    names = set(distributions(replace(SHORT, method=method), CONFIGURATION))  # type: ignore[arg-type]
    assert {"steps", "swapped", "label_smoothing", "lines_per_template", "head_learning_rate"} | used <= names
    assert not unused & names


def test_other_encoders_get_no_keys_and_values() -> None:
    """Only our own encoder takes them."""
    given = Configuration(method="prompt-tune", prefix_length=0)
    assert "prefix_length" in distributions(given, CONFIGURATION)
    assert "prefix_length" not in distributions(given, OTHER_CONFIGURATION)


def test_prompts_stay_below_a_hundred_kilobytes() -> None:
    """Twelve wide layers leave few keys and values."""
    wide = CONFIGURATION | {"hidden_size": 768, "num_hidden_layers": 12}
    found = distributions(Configuration(method="prompt-tune", prompt_length=0, prefix_length=0), wide)
    most = {name: max(found[name].choices) for name in ("prompt_length", "prefix_length")}  # type: ignore[attr-defined]
    assert {"prompt_length": 16, "prefix_length": 0} == most


def test_an_interrupted_search_goes_on(job: Job) -> None:
    """The given configuration is tried first and once; a trial that was broken off counts for nothing."""
    first = Search(job)
    first.begin()
    first.go_on()
    first.study.ask()  # broken off
    second = Search(replace(job, trials=3))
    second.begin()
    second.go_on()
    assert SHORT == second.configuration(second.complete()[0])
    assert [True, False, False] == [trial.user_attrs.get("is_start", False) for trial in second.tried()]
    assert [0, 2, 3] == [trial.number for trial in second.tried()]
    drawn = [second.configuration(trial) for trial in second.tried()]
    assert 3 == len(set(drawn))
    assert ["search.log"] == [file.name for file in job.out.iterdir()]


def test_the_time_ends_a_search_after_its_first_trial(job: Job) -> None:
    """The given configuration is measured however little time there is."""
    search = Search(replace(job, trials=5, deadline=time.time() - 1))
    search.begin()
    search.go_on()
    assert [0] == [trial.number for trial in search.complete()]


def test_a_trial_that_diverges_is_told_and_passed_over(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a reason and no score; the same of the given configuration ends the search."""

    def diverging(*_: object) -> Score:
        raise WrongModel("prompt.safetensors holds values that are no numbers")

    search = Search(replace(job, trials=2))
    search.begin()
    monkeypatch.setattr("training.teaching.search.measured", diverging)
    with pytest.raises(WrongModel, match="no numbers"):
        search.go_on()
    search.begin()
    search.study.enqueue_trial({"steps": 1})
    monkeypatch.setattr(
        "training.teaching.search.measured",
        lambda *called: Score(exact=0.5, loss=1.0) if called[2] == SHORT else diverging(),
    )
    search.go_on()
    assert [0.5, None] == [trial.user_attrs.get("exact") for trial in search.tried()]
    assert "prompt.safetensors holds values that are no numbers" == search.tried()[1].user_attrs["reason"]


def test_a_trial_stops_where_others_did_better(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fold of what is worse than most on the first is not taught."""
    monkeypatch.setattr("training.teaching.search.measured", lambda *called: Score(exact=1 / called[2].steps, loss=1.0))
    search = Search(replace(job, trials=5, configuration=replace(SHORT, steps=8)))
    for steps in (4, 5, 6, 16):
        search.study.enqueue_trial({"steps": steps})
    search.begin()
    search.go_on()
    assert [2, 2, 2, 1, 2] == [len(trial.user_attrs["folds"]) for trial in search.tried()]
    assert 4 == search.configuration(search.study.best_trial).steps


def test_another_search_in_the_folder_is_refused(job: Job) -> None:
    """Trials of other lines say nothing about these."""
    Search(job)
    other = Source(name="app", log=["took 4 ms"], shots=SHOTS)
    with pytest.raises(WrongSettings, match="unfinished search with other lines"):
        Search(replace(job, sources=(other,)))
