"""A checkpoint: the folder that holds a tagger, and its version. Needs no torch, so that naming it is quick.

Files: `logloom.json` (what it is), `config.json` (the encoder, as Hugging Face writes it), `tokenizer.json` and
`model.safetensors`; it may have `names.safetensors` (names of parameters), and a taught one `templates.jsonl` (known
templates of messages under no prompt) and `prompts/NAME/` with some of `prompt.safetensors`, `templates.jsonl` and
`fields.safetensors` (fields taught by examples). `checksums.py` checks them. Nothing in them can run code.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import WrongModel

#: The version of the folder's format and of the character features; another one can't be run.
FORMAT = 1
#: The version of the rules by which code cuts, settles and names what a checkpoint reads. Raised with each change of
#: what comes out: templates that other rules made are kept apart as those of another checkpoint.
RULES = 4
#: What a token can be, in the order of the network's outputs.
LABELS = ("constant", "begin", "inside")
CONSTANT, BEGIN, INSIDE = range(3)
#: How many values each character feature has.
FEATURE_SIZES = (9, 16, 14, 14, 32)
#: Files of a checkpoint.
ABOUT, CONFIG, TOKENIZER, WEIGHTS = FILES = ("logloom.json", "config.json", "tokenizer.json", "model.safetensors")
#: Files that a checkpoint, or a prompt in it, may have beside these, and the folder of the prompts.
PROMPT, KNOWN, NAMES = "prompt.safetensors", "templates.jsonl", "names.safetensors"
FIELDS = "fields.safetensors"
PROMPTS = "prompts"
#: The checksums of all these, and the signature of the list.
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
#: What a taught checkpoint learned from, for people.
CARD = "DATA_CARD.md"
#: How messages are cut. Each run of letters and digits and each mark is decided by itself; the labels alone decide, or
#: what comes out is corrected by the rules of published labels.
PIECES, CORRECTED = CUTS = ("pieces", "corrected")
#: What descriptions that say nothing of cuts mean, those of base-1 and of what was taught from it.
_WORDS = "words"
#: The name, and the folder, of the checkpoint that ships with Logloom.
BASE = "base"
_BASE_FOLDER = Path(__file__).parents[1] / "models" / "base"
#: A prompt's name is that of its folder, and part of its version.
_PROMPT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a checkpoint says of itself."""

    #: Its name, such as `base-2`.
    name: str
    #: Most tokens that one window may have, the two special ones included.
    max_tokens: int
    #: What it was made from and by which command, for people.
    origin: str
    #: How messages are cut, one of CUTS.
    cuts: str
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
        return Path(
            snapshot_download(str(path), allow_patterns=[*FILES, KNOWN, NAMES, SUMS, SIGNATURE, f"{PROMPTS}/*"])
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise WrongModel(f"{path} is no folder, and the Hugging Face hub does not give it: {error}") from error


def checkpoint_version(path: str | Path, prompt: str | None = None) -> str:
    """Name what decides the templates: a checkpoint or a prompt in it, by its content, and the rules of this version.

    The checkpoint's name and eight digits of the digest of its files and the rules; for a prompt, `+` and the same of
    the prompt.

    Raises:
        WrongModel: it is not there, or incomplete; it has no such prompt.

    """
    folder = checkpoint_folder(path)
    about = read_about(folder)
    files = [folder / name for name in FILES]
    # Names too: templates carry them, and are kept by version.
    files += [folder / name for name in (KNOWN, NAMES) if (folder / name).is_file()]
    version = f"{about.name}-{_digest(files, rules=RULES)}"
    return version if prompt is None else f"{version}+{prompt_version(folder, prompt)}"


def checkpoint_contents(path: str | Path) -> tuple[str, ...]:
    """Give the versions of a checkpoint and of each prompt in it, in order of name: equal ones are the same inside.

    Raises:
        WrongModel: it is not there, or incomplete.

    """
    folder = checkpoint_folder(path)
    try:
        return checkpoint_version(folder), *(prompt_version(folder, name) for name in prompt_names(folder))
    except OSError as error:
        raise WrongModel(f"{folder} is no Logloom checkpoint: {error}") from error


def prompt_version(folder: Path, name: str) -> str:
    """Name a prompt of the checkpoint in `folder` by its content.

    Raises:
        WrongModel: the checkpoint has no such prompt.

    """
    refuse_unknown_prompt(name, prompt_names(folder), str(folder))
    files = [prompt_folder(folder, name) / file for file in (PROMPT, KNOWN)]
    return f"{name}-{_digest(file for file in files if file.is_file())}"


def encoder_version(folder: Path) -> str:
    """Digest what a prompt is made for: the encoder's description, its tokenizer and its weights; sixteen digits.

    Raises:
        WrongModel: one of them is missing.

    """
    try:
        return _digest([folder / name for name in (CONFIG, TOKENIZER, WEIGHTS)], size=8)
    except OSError as error:
        raise WrongModel(f"{folder} is no Logloom checkpoint: {error}") from error


def tokenizer_version(folder: Path) -> str:
    """Digest what names are made for, the tokenizer; sixteen digits.

    Raises:
        WrongModel: it is missing.

    """
    try:
        return _digest([folder / TOKENIZER], size=8)
    except OSError as error:
        raise WrongModel(f"{folder} is no Logloom checkpoint: {error}") from error


def _digest(files: Iterable[Path], size: int = 4, *, rules: int = 0) -> str:
    digest = hashlib.blake2b(digest_size=size, salt=rules.to_bytes(hashlib.blake2b.SALT_SIZE, "big"))
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def prompt_folder(folder: Path, name: str) -> Path:
    """Tell where the files of a prompt lie in a checkpoint.

    Raises:
        WrongModel: the name can't be that of a prompt.

    """
    if not _PROMPT_NAME.fullmatch(name):
        raise WrongModel(f"{name!r} can't name a prompt: use up to 100 letters, digits, `_`, `-` and `.`.")
    return folder / PROMPTS / name


def prompt_names(folder: Path) -> tuple[str, ...]:
    """List the prompts of a checkpoint, in order of name."""
    if not (folder / PROMPTS).is_dir():
        return ()
    return tuple(
        sorted(
            found.name
            for found in (folder / PROMPTS).iterdir()
            if _PROMPT_NAME.fullmatch(found.name) and any((found / file).is_file() for file in (PROMPT, KNOWN, FIELDS))
        )
    )


def taught_fields(path: str | Path | None, prompt: str | None) -> Path | None:
    """Tell where the fields lie that a prompt of a checkpoint was taught; None where there are none.

    Raises:
        WrongModel: there is no such checkpoint, or the name can't be that of a prompt.

    """
    if path is None or prompt is None:
        return None
    file = prompt_folder(checkpoint_folder(path), prompt) / FIELDS
    return file if file.is_file() else None


def refuse_unknown_prompt(name: str, known: Iterable[str], checkpoint: str) -> None:
    """Raise WrongModel, with the names there are, where `checkpoint` has no prompt `name`."""
    names = sorted(known)
    if name not in names:
        there = f"it has {', '.join(names)}" if names else "it has none: leave the prompt unset"
        raise WrongModel(f"{checkpoint} has no prompt {name!r}; {there}.")


def refuse_unknown_cuts(cuts: str, path: Path, maker: str) -> None:
    """Raise WrongModel, with the command that makes the file at `path` again, where messages can't be cut so."""
    if cuts not in CUTS:
        known = " and ".join(CUTS)
        raise WrongModel(
            f"{path} cuts messages by {cuts!r}; this version knows {known}. Make it again with `python -m {maker}`."
        )


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
        about = About(**({"cuts": _WORDS} | fields | lists))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WrongModel(f"{path} is broken: {error}") from error
    if (about.format, about.labels, about.feature_sizes) != (FORMAT, LABELS, FEATURE_SIZES):
        raise WrongModel(
            f"{path} is of format {about.format}; this version runs format {FORMAT} with labels {', '.join(LABELS)}."
        )
    refuse_unknown_cuts(about.cuts, path, "training.fine_tune")
    if not isinstance(about.max_tokens, int) or not 8 <= about.max_tokens <= 8192:
        raise WrongModel(f"{path} gives {about.max_tokens} as max_tokens; 8 to 8192 can be run.")
    return about
