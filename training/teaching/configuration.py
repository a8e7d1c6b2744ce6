"""What decides how a checkpoint is taught: the method and its figures, from a file, from options, checked."""

import argparse
import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from worker.errors import WrongSettings

Method = Literal["zero-shot", "fine-tune", "prompt-tune", "fuse"]
METHODS: tuple[Method, ...] = get_args(Method)
Order = Literal["fine-tune-first", "prompt-first", "joint"]
ORDERS: tuple[Order, ...] = get_args(Order)

#: Of each figure of a configuration, the least and the most that is allowed.
_LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "steps": (1, math.inf),
    "batch_lessons": (1, math.inf),
    "learning_rate": (0, 1),
    "head_learning_rate": (0, 1),
    "prompt_learning_rate": (0, 1),
    "weight_decay": (0, 1),
    "warm_up": (0, 1),
    "label_smoothing": (0, 1),
    "layers": (0, math.inf),
    "lora_rank": (0, math.inf),
    "prompt_length": (0, 100),
    "prefix_length": (0, 100),
    "swapped": (0, 1),
    "lines_per_template": (1, math.inf),
    "validation": (0, 0.5),
    "looks": (1, math.inf),
    "patience": (0, math.inf),
    "diversity": (0, 1000),
}
_CHOICES: dict[str, tuple[str, ...]] = {"method": METHODS, "order": ORDERS}


def _is_allowed(name: str, value: object, default: object) -> bool:
    """Tell whether a value of a configuration has the type of its default and lies within its limits."""
    if name in _CHOICES:
        return value in _CHOICES[name]
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    least, most = _LIMITS[name]
    return isinstance(value, (int, float) if isinstance(default, float) else int) and least <= value <= most


def _allowed(name: str, default: object) -> str:
    """Say what is allowed."""
    if name in _CHOICES:
        return ", ".join(_CHOICES[name])
    if isinstance(default, bool):
        return "true, false"
    least, most = _LIMITS[name]
    limits = f"{least:g} and more" if math.isinf(most) else f"{least:g} to {most:g}"
    return limits if isinstance(default, float) else f"whole numbers, {limits}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that decides what is learned from given lines."""

    method: Method = "fine-tune"
    seed: int = 1
    #: Steps of each stage for each source that has labels, and lessons in a step.
    steps: int = 150
    batch_lessons: int = 16
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    prompt_learning_rate: float = 5e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    label_smoothing: float = 0.02
    #: Trained layers from the last on, the others frozen; 0 trains all.
    layers: int = 0
    #: Rank of the low-rank updates that are trained in the encoder's place; 0 for none.
    lora_rank: int = 0
    #: Vectors of a prompt beside the tokens, and learned keys and values in every layer.
    prompt_length: int = 0
    prefix_length: int = 8
    #: What fuse does first.
    order: Order = "fine-tune-first"
    #: Share of the values that are replaced by others of their type.
    swapped: float = 0.3
    #: Lines of each labelled template that are shown, others of its matches are not.
    lines_per_template: int = 40
    #: Share of the labelled templates that is kept from training to stop early by; 0 keeps none and does all steps.
    validation: float = 0.0
    #: How often in a stage the kept ones are looked at, and looks without gain after which it stops.
    looks: int = 10
    patience: int = 4
    #: Whether templates settle with their neighbours in the unlabelled log, and how much variety speaks there.
    settles: bool = True
    diversity: float = 2.5

    def __post_init__(self) -> None:
        """Refuse what can't be, all at once."""
        wrong = [
            f"{one.name} is {value!r}; allowed: {_allowed(one.name, one.default)}"
            for one in fields(self)
            if not _is_allowed(one.name, value := getattr(self, one.name), one.default)
        ]
        if not wrong and self.lora_rank and self.layers:
            wrong.append("lora_rank and layers are both set: low-rank updates leave all layers frozen")
        if wrong:
            raise WrongSettings("; ".join(wrong))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a configuration that `tune` or an earlier run wrote.

        Raises:
            WrongSettings: it can't be read, or names something unknown or not allowed.

        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            unknown = values.keys() - {one.name for one in fields(cls)}
        except (OSError, ValueError, AttributeError) as error:
            raise WrongSettings(f"{path} is no configuration: {error}") from error
        if unknown:
            raise WrongSettings(f"{path} names {', '.join(sorted(unknown))}, which no method knows")
        return cls(**values)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add an option for each field but the method, and `--configuration` for a file of them."""
        parser.add_argument("--configuration", type=Path, help="a file that `tune` or an earlier run wrote")
        for one in fields(cls):
            default: Any = one.default
            option = f"--{one.name.replace('_', '-')}"
            if one.name == "method":
                continue
            if isinstance(default, bool):
                parser.add_argument(option, action=argparse.BooleanOptionalAction, default=None)
            else:
                parser.add_argument(option, type=type(default), default=None, help=f"default {default}")

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, method: Method) -> Self:
        """Take the file's values, then the options that were given."""
        base = cls() if arguments.configuration is None else cls.from_file(arguments.configuration)
        given = {
            one.name: value
            for one in fields(cls)
            if one.name != "method" and (value := getattr(arguments, one.name)) is not None
        }
        return replace(base, method=method, **given)
