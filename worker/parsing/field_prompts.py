"""Soft prompts of fields: what a few labelled lines taught about a field, read in place of its words.

They lie beside what else a source taught, in `prompts/NAME/` of its checkpoint, and fit the one network of fields that
they were learned on.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from worker.errors import WrongModel
from worker.parsing.networks import F32, described_texts, read_network, refuse_misfits, shapes_of, write_network

_CURE = "Teach the fields again with `python -m training.prompt_fields`."
_VECTORS = "vectors"


def read_field_prompts(path: Path, network: Path, width: int) -> dict[str, F32]:
    """Read the soft prompt of each field, (3, `width`), by its name in events; `network` is what they must be for.

    Raises:
        WrongModel: the file is missing or broken, or was made for another network.

    """
    about, parts = read_network(path, _CURE)
    if about.get("network") != _digest(network):
        raise WrongModel(f"{path} was made for another network of fields than {network.name} of this version. {_CURE}")
    shapes_of(path, parts, (_VECTORS,), "soft prompts of fields")
    names = described_texts(path, about, "fields", _CURE)
    if not names:
        raise WrongModel(f"{path} names no fields. {_CURE}")
    refuse_misfits(path, parts, {_VECTORS: (len(names), 3, width)})
    return dict(zip(names, parts[_VECTORS].astype(np.float32), strict=True))


def write_field_prompts(path: Path, prompts: Mapping[str, F32], network: Path) -> None:
    """Write soft prompts of fields, by their names in events, in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = np.stack([*prompts.values()]).astype(np.float16)
    write_network(path, {_VECTORS: vectors}, {"fields": [*prompts], "network": _digest(network)})


def _digest(network: Path) -> str:
    return hashlib.blake2b(network.read_bytes(), digest_size=8).hexdigest()
