"""Files that an operator or another worker wrote: templates, networks, checkpoints, settings."""

import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from tests.fuzz.envelopes import SEPARATOR
from tests.fuzz.target import Target
from tests.parsing.checkpoints import CONFIGURATION, small_tokenizer, write_small, write_small_names
from worker.errors import WrongModel, WrongSettings
from worker.parsing.asking import Asker
from worker.parsing.checkpoint import FILES, NAMES, TOKENIZER
from worker.parsing.field_prompts import read_field_prompts, write_field_prompts
from worker.parsing.message_types import Typer
from worker.parsing.model import Tagger
from worker.parsing.naming import Namer, places
from worker.parsing.networks import Part, write_network
from worker.parsing.parser import EncoderParser
from worker.parsing.prompts import Prompt, load_prompt, write_prompt
from worker.parsing.templates import Template
from worker.settings.reading import load

_MESSAGES = (b"took 5 s", "id=a7 (b) \u00e4".encode(), b"", b"\xff 1")


@cache
def _folder(name: str) -> Path:
    """Make a folder that lives as long as the process."""
    return Path(mkdtemp(prefix=f"logloom-fuzz-{name}-"))


@cache
def _checkpoint() -> Path:
    folder = write_small_names(write_small(_folder("checkpoint")))
    write_prompt(folder, _prompt())
    return folder


def _prompt() -> Prompt:
    hidden, layers = CONFIGURATION["hidden_size"], CONFIGURATION["num_hidden_layers"]
    return Prompt(
        name="mail", vectors=torch.ones(2, hidden), keys=torch.ones(layers, 1, hidden),
        values=torch.ones(layers, 1, hidden), head_weight=torch.ones(3, hidden), head_bias=torch.zeros(3),
    )  # fmt: skip


def _replaced(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    """Read the small checkpoint with `content` in the place of one of its files."""
    file = _checkpoint() / name
    sound = file.read_bytes()
    try:
        file.write_bytes(content)
        read(_checkpoint())
    finally:
        file.write_bytes(sound)


def _load(folder: Path) -> None:
    """Load the checkpoint; what loads must parse."""
    parser = EncoderParser(Tagger.load(folder, device="cpu", dtype="float32"))
    parser.parse(list(_MESSAGES))


def _names(folder: Path) -> None:
    namer = Namer.load(folder)
    assert namer is not None
    namer.names(places(["took ", " s"], [b"5"]))


def _mail(folder: Path) -> None:
    load_prompt(folder, "mail", CONFIGURATION)


def _file_of(name: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [(_checkpoint() / name).read_bytes()]


def _types(content: bytes) -> None:
    path = _folder("types") / "types.safetensors"
    path.write_bytes(content)
    Typer.load({"broken disk": ("disk failure",)}, path).typed(Template.from_text("took <*> s"))


def _fields(content: bytes) -> None:
    path = _folder("fields") / "fields.safetensors"
    path.write_bytes(content)
    Asker.load(path).queries(["client ip"])


def _field_prompts(content: bytes) -> None:
    path = _folder("prompts") / "fields.safetensors"
    path.write_bytes(content)
    read_field_prompts(path, _checkpoint() / TOKENIZER, 4)


def _written(write: Callable[[Path], object]) -> bytes:
    path = _folder("made") / "made"
    write(path)
    return path.read_bytes()


def _made_types() -> Sequence[bytes]:
    tokenizer = small_tokenizer()
    tokens, wide = tokenizer.get_vocab_size() + 1, 2
    parts: dict[str, Part] = {
        "tokens": np.ones((tokens, 2), np.int8), "token_scale": np.ones(2, np.float32),
        "hidden_weight": np.ones((wide, 6), np.float16), "hidden_bias": np.zeros(wide, np.float16),
        "centre": np.zeros(2 * wide, np.float16), "direction_weight": np.ones((3, 2 * wide), np.float16),
        "direction_bias": np.zeros(3, np.float16), "types": np.ones((2, 3), np.float16),
        "type_bias": np.zeros(2, np.float16),
    }  # fmt: skip
    about = {"threshold": 0.5, "types": ["full"], "tokenizer": tokenizer.to_str()}
    return [_written(lambda path: write_network(path, parts, about)), _odd(about), *_odd_networks()]


def _made_fields() -> Sequence[bytes]:
    return [_odd({"threshold": 0.5, "tokenizer": small_tokenizer().to_str()}), *_odd_networks()]


def _made_field_prompts() -> Sequence[bytes]:
    prompts = {"client_ip": np.ones((3, 4), np.float32)}
    return [_written(lambda path: write_field_prompts(path, prompts, _checkpoint() / TOKENIZER)), *_odd_networks()]


def _odd(about: Any) -> bytes:
    """Write a network of one part, whatever it says of itself."""
    return bytes(save({"tokens": np.ones((2, 2), np.float32)}, {"about": json.dumps(about)}))


def _odd_networks() -> list[bytes]:
    return [_odd(about) for about in ({"format": 1}, [1], 7, None, {"format": 1, "tokenizer": 3})]


def _settings(content: bytes) -> None:
    """Read a TOML file, then `NAME=value` lines as the environment."""
    toml, *lines = content.split(SEPARATOR)[:8]
    path = _folder("settings") / "logloom.toml"
    path.write_bytes(toml)
    pairs = (line.decode(errors="surrogateescape").partition("=") for line in lines)
    # What names a file to read is the operator's own.
    environment = {name: value for name, _, value in pairs if "FILE" not in name.upper() and "_DIR" not in name.upper()}
    load(path, environment={name: value for name, value in environment.items() if name != "LOGLOOM_CONFIG"})


TARGETS = [
    Target(name="settings", read=_settings, refuses=(WrongSettings,)),
    *(
        Target(
            name=f"checkpoint-{Path(name).stem}",
            read=partial(_replaced, name, read=_load),
            made=_file_of(name),
            refuses=(WrongModel,),
        )
        for name in FILES
    ),
    Target(
        name="checkpoint-prompt",
        read=partial(_replaced, "prompts/mail/prompt.safetensors", read=_mail),
        made=_file_of("prompts/mail/prompt.safetensors"),
        refuses=(WrongModel,),
    ),
    Target(
        name="network-names", read=partial(_replaced, NAMES, read=_names), made=_file_of(NAMES), refuses=(WrongModel,)
    ),
    Target(name="network-types", read=_types, made=_made_types, refuses=(WrongModel,)),
    Target(name="network-fields", read=_fields, made=_made_fields, refuses=(WrongModel,)),
    Target(name="network-field-prompts", read=_field_prompts, made=_made_field_prompts, refuses=(WrongModel,)),
]
