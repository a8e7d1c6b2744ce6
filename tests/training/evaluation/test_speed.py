"""The worker's path over a log: templates as emitted and settled, and a speed."""

from pathlib import Path

from tests.parsing.checkpoints import write_small
from tests.training.labelled_logs import store_log
from training.evaluation.speed import worker_path
from worker.parsing.checkpoint import KNOWN, prompt_folder
from worker.parsing.known import write_known
from worker.parsing.templates import Template


def test_known_templates_reach_the_events(tmp_path: Path) -> None:
    """Every line of the log has the template of its event, by the prompt's known templates, twice."""
    log = store_log()
    checkpoint = write_small(tmp_path)
    texts = dict.fromkeys(text for text in log.templates if text is not None)
    write_known(prompt_folder(checkpoint, "store") / KNOWN, [Template.from_text(text) for text in [*texts, "odd one"]])
    found = worker_path(log.messages, checkpoint, prompt="store", device="cpu", at_least=100, passes=1)
    expected = (*log.templates[:-1], "odd one")
    assert (expected, expected) == (found.emitted, found.settled)
    assert 117 == found.lines  # the log has 39 lines
    assert 0 < found.lines_per_second <= found.lines_per_cpu_second
