"""`logloom worker` with a model that fails as a file says: `python -m tests.integration.faulty_worker worker`.

The first word of the file that `FAULTY_WORKER_MODEL` names is what the model does at the next message: `raise`, `hang`,
`exhaust` (the machine's memory), `slow` for the seconds that follow, `lack` the device's memory for more rows than
follow, or `poisoned` by messages that hold the word that follows. No file, or an empty one: nothing.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from worker.cli import main
from worker.parsing.model import Tagger
from worker.parsing.parser import EncoderParser

#: The variable that names the file.
VARIABLE = "FAULTY_WORKER_MODEL"


def fault() -> list[str]:
    """Read what is to be done."""
    path = Path(os.environ[VARIABLE])
    return path.read_text().split() if path.exists() else []


def spoil() -> None:
    """Put the faults into the model."""
    parse, scores = EncoderParser.parse, Tagger._scores

    def spoiled_parse(parser: EncoderParser, messages: Sequence[bytes], **more: Any) -> Any:
        match fault():
            case ["raise"]:
                raise ZeroDivisionError("the model fails on purpose")
            case ["hang"]:
                threading.Event().wait()
            case ["exhaust"]:
                raise MemoryError("on purpose")
            case ["slow", seconds]:
                threading.Event().wait(float(seconds))
            case ["poisoned", word] if any(word.encode() in message for message in messages):
                raise ZeroDivisionError(f"{word} on purpose")
        return parse(parser, messages, **more)

    def spoiled_scores(tagger: Tagger, rows: Sequence[Any], *more: Any) -> Any:
        match fault():
            case ["lack", most] if len(rows) > int(most):
                raise torch.OutOfMemoryError(f"{len(rows)} rows, on purpose")
        return scores(tagger, rows, *more)

    for owner, name, spoiled in ((EncoderParser, "parse", spoiled_parse), (Tagger, "_scores", spoiled_scores)):
        setattr(owner, name, spoiled)


if __name__ == "__main__":
    spoil()
    main()
