"""A checkpoint: the folder that holds a tagger, and its version. Needs no torch, so that naming it is quick.

Files: `logloom.json` (what it is), `config.json` (the encoder, as Hugging Face writes it), `tokenizer.json` and
`model.safetensors`. Nothing in them can run code.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import WrongModel

#: The version of the folder's format and of the character features; another one can't be run.
FORMAT = 1
#: What a token can be, in the order of the network's outputs.
LABELS = ("constant", "begin", "inside")
CONSTANT, BEGIN, INSIDE = range(3)
#: How many values each character feature has.
FEATURE_SIZES = (9, 16, 14, 14, 32)
#: Files of a checkpoint.
ABOUT, CONFIG, TOKENIZER, WEIGHTS = FILES = ("logloom.json", "config.json", "tokenizer.json", "model.safetensors")
#: The name, and the folder, of the checkpoint that ships with Logloom.
BASE = "base"
_BASE_FOLDER = Path(__file__).parents[1] / "models" / "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a checkpoint says of itself."""

    #: Its name, such as `base-1`.
    name: str
    #: Most tokens that one window may have, the two special ones included.
    max_tokens: int
    #: What it was made from and by which command, for people.
    origin: str
    format: int = FORMAT
    labels: tuple[str, ...] = LABELS
    feature_sizes: tuple[int, ...] = FEATURE_SIZES


def checkpoint_folder(path: str | Path) -> Path:
    """Find a checkpoint: `base`, a folder, or the name of one on the Hugging Face hub.

    Raises:
        WrongModel: there is no such folder and the hub does not give it.

    """
    if str(path) == BASE:
        return _BASE_FOLDER
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only a hub's name needs it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415 - the same

    try:
        return Path(snapshot_download(str(path), allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise WrongModel(f"{path} is no folder, and the Hugging Face hub does not give it: {error}") from error


def checkpoint_version(path: str | Path) -> str:
    """Name a checkpoint by its content: its own name and eight digits of the digest of all that decides its templates.

    Raises:
        WrongModel: it is not there, or incomplete.

    """
    folder = checkpoint_folder(path)
    about = read_about(folder)
    digest = hashlib.blake2b(digest_size=4)
    for file in FILES:
        digest.update((folder / file).read_bytes())
    return f"{about.name}-{digest.hexdigest()}"


def read_about(folder: Path) -> About:
    """Read what a checkpoint says of itself.

    Raises:
        WrongModel: a file is missing, the description is broken, or it is made for another version.

    """
    for name in FILES:
        if not (folder / name).is_file():
            raise WrongModel(
                f"{folder} has no {name}: it is no Logloom checkpoint. `python -m training.fine_tune` makes one."
            )
    path = folder / ABOUT
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lists: dict[str, Any] = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        about = About(**(fields | lists))
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongModel(f"{path} is broken: {error}") from error
    if (about.format, about.labels, about.feature_sizes) != (FORMAT, LABELS, FEATURE_SIZES):
        raise WrongModel(
            f"{path} is of format {about.format}; this version runs format {FORMAT} with labels {', '.join(LABELS)}."
        )
    if not isinstance(about.max_tokens, int) or not 8 <= about.max_tokens <= 8192:
        raise WrongModel(f"{path} gives {about.max_tokens} as max_tokens; 8 to 8192 can be run.")
    return about
