"""Teach a checkpoint the logs of one or several sources: the core that fine-tune, prompt-tune and fuse share.

What a source gives is its unlabelled log and a few labelled lines. What comes out is one versioned folder: a checkpoint
with, for each source, a prompt, which holds the templates that are known of the source and, where prompts were learned,
its soft prompt. The worker loads that folder and names the prompt in the source's settings.
"""

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copyfile, copytree, rmtree

import numpy as np
import torch
from torch import Tensor, nn

from training.encoder import continued, encoder_layers
from training.labels import Pair
from training.runs import CHECKPOINT, Group, Progress, distributed, joules, seeded
from training.tagging import IGNORED, padded_labels, token_labels
from training.teaching.configuration import Configuration
from training.teaching.lessons import Lesson, Variations, lessons, shot_templates
from training.teaching.lora import add_lora, merge_lora
from training.teaching.settled import settled_templates
from worker.errors import WrongSettings
from worker.parsing.checkpoint import (
    CARD,
    FIELDS,
    FILES,
    KNOWN,
    NAMES,
    PIECES,
    PROMPT,
    PROMPTS,
    About,
    checkpoint_folder,
    checkpoint_version,
    prompt_folder,
    prompt_names,
    read_about,
)
from worker.parsing.known import load_known, write_known
from worker.parsing.model import padded_rows, serving_dtype, special_tokens, tokenize, write_checkpoint
from worker.parsing.parser import EncoderParser, readable, sliced
from worker.parsing.prompts import Prompt, PromptBatch, write_prompt

#: Templates that a source's prompt knows, at most; those of most lines are kept.
_MOST_KNOWN = 10_000
_CURVE_STEPS = 10
#: Batches that are drawn and sorted by length together, so that little is padded.
_BATCHES_SORTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a source gives to learn from."""

    #: Becomes the name of its prompt.
    name: str
    #: Its messages, unlabelled; those that are labelled may be among them.
    log: Sequence[str]
    shots: Sequence[Pair] = ()
    #: Under which licence its logs are, for the checkpoint's card.
    licence: str = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """What became of one source."""

    #: What `EncoderParser.load` reads.
    checkpoint: Path
    #: The source's prompt in it.
    prompt: str | None
    #: Time of the training; templates that settled afterwards are not counted.
    seconds: float
    report: dict[str, object] = field(default_factory=dict)


def teach(
    name: str, log: Sequence[str], shots: Sequence[Pair], out: Path, *, start: Path, configuration: Configuration
) -> Taught:
    """Teach one source; see `teach_sources`."""
    return teach_sources([Source(name=name, log=log, shots=shots)], out, start=start, configuration=configuration)[0]


def teach_sources(
    sources: Sequence[Source],
    out: Path,
    *,
    start: str | Path,
    configuration: Configuration,
    device: str = "auto",
    notes: bool = False,
) -> list[Taught]:
    """Teach the checkpoint `start` the logs of `sources`; writes `out/checkpoint`. One `Taught` for each, in order.

    What `start` knows of other sources stays known; `lost_prompts` tells whose soft prompts do not stay.

    Raises:
        WrongModel: the checkpoint is broken, or a source's name can't be that of a prompt.
        WrongSettings: a method that learns got no labelled line that its template fits, two sources have one name, or
            the encoder lacks what the configuration names.

    """
    folder, checkpoint = checkpoint_folder(start), out / CHECKPOINT
    _check(sources, folder, checkpoint, configuration)
    seeded(configuration.seed)
    seconds, report = 0.0, dict[str, object]()
    with distributed(device) as group:
        if configuration.method != "zero-shot":
            with joules() as energy:
                began = time.perf_counter()
                learner = Learner(folder, sources, configuration, group, notes=notes)
                learner.learn()
                seconds = time.perf_counter() - began
            report = learner.report | {"joules": energy.joules}
            if group.is_first:
                rmtree(checkpoint / PROMPTS, ignore_errors=True)  # of an earlier run, for other weights
                learner.write(checkpoint)
        elif group.is_first:
            copy_checkpoint(folder, checkpoint)
        if group.is_first:
            _keep_known(sources, folder, checkpoint)
            found = _write_known(sources, checkpoint, configuration, device)
            report["templates"] = found
            _write_card(sources, folder, checkpoint, configuration)
        group.wait()
    return [Taught(checkpoint=checkpoint, prompt=source.name, seconds=seconds, report=report) for source in sources]


def lost_prompts(sources: Sequence[Source], start: str | Path, configuration: Configuration) -> list[str]:
    """Name the sources, not taught again, whose soft prompts can't stay: they fit the weights of `start` alone.

    Raises:
        WrongModel: there is no checkpoint `start`.

    """
    if configuration.method not in {"fine-tune", "fuse"}:
        return []
    folder, taught = checkpoint_folder(start), {source.name for source in sources if shot_templates(source.shots)}
    return [
        name for name in prompt_names(folder) if name not in taught and (prompt_folder(folder, name) / PROMPT).is_file()
    ]


def _check(sources: Sequence[Source], folder: Path, checkpoint: Path, configuration: Configuration) -> None:
    """Refuse what would fail only after the training."""
    load_known(folder)
    refuse_doubled([source.name for source in sources])
    for source in sources:
        prompt_folder(checkpoint, source.name)
    if configuration.method != "zero-shot" and not any(shot_templates(source.shots) for source in sources):
        raise WrongSettings(f"{configuration.method} needs labelled lines, and there are none")


def refuse_doubled(names: Sequence[str]) -> None:
    """Refuse two sources of one name.

    Raises:
        WrongSettings: there are.

    """
    if len(set(names)) < len(names):
        raise WrongSettings(f"two sources have one name: {', '.join(names)}")


def copy_checkpoint(folder: Path, checkpoint: Path) -> None:
    """Copy a checkpoint as it is, with its prompts and what it knows: all of that still fits."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, KNOWN, NAMES):
        if (folder / name).is_file():
            copyfile(folder / name, checkpoint / name)
    if (folder / PROMPTS).is_dir():
        copytree(folder / PROMPTS, checkpoint / PROMPTS, dirs_exist_ok=True)


def _keep_known(sources: Sequence[Source], folder: Path, checkpoint: Path) -> None:
    """Copy names, taught fields and other sources' templates out of the checkpoint in `folder`: any weights will do."""
    if (folder / NAMES).is_file():
        copyfile(folder / NAMES, checkpoint / NAMES)
    others = [name for name in prompt_names(folder) if name not in {source.name for source in sources}]
    for place in (Path(), *(Path(PROMPTS, name) for name in others)):
        if (folder / place / KNOWN).is_file():
            (checkpoint / place).mkdir(parents=True, exist_ok=True)
            copyfile(folder / place / KNOWN, checkpoint / place / KNOWN)
    for place in (Path(PROMPTS, name, FIELDS) for name in prompt_names(folder)):
        if (folder / place).is_file():
            (checkpoint / place).parent.mkdir(parents=True, exist_ok=True)
            copyfile(folder / place, checkpoint / place)


def _write_known(
    sources: Sequence[Source], checkpoint: Path, configuration: Configuration, device: str
) -> dict[str, int]:
    """Write what is known of each source: its labelled templates, and those that its log settled on."""
    parser = EncoderParser.load(checkpoint, device=device)
    counts = {}
    for source in sources:
        templates = shot_templates(source.shots)
        if configuration.settles:
            prompt = source.name if source.name in parser.prompts else None
            settled = settled_templates(parser, prompt, source.log, templates, diversity=configuration.diversity)
            templates = list({template.id: template for template in [*templates, *settled]}.values())
        write_known(prompt_folder(checkpoint, source.name) / KNOWN, templates[:_MOST_KNOWN])
        counts[source.name] = min(len(templates), _MOST_KNOWN)
    return counts


def _write_card(sources: Sequence[Source], folder: Path, checkpoint: Path, configuration: Configuration) -> None:
    """Write what the checkpoint learned from, for people: nothing reads it."""
    kept = [name for name in prompt_names(checkpoint) if name not in {source.name for source in sources}]
    lost = lost_prompts(sources, folder, configuration)
    more = f"\nWhat it knew of other sources is here too: {', '.join(kept)}.\n" if kept else ""
    more += f"\nSoft prompts that fit its weights alone are not here: {', '.join(lost)}.\n" if lost else ""
    rows = "\n".join(
        f"| {source.name} | {len(source.log):,} | {len(source.shots)} | {source.licence} |" for source in sources
    )
    (checkpoint / CARD).write_text(
        f"""# What this checkpoint learned from

Started from `{checkpoint_version(folder)}` by {configuration.method}, with the settings below.

| source | unlabelled messages | labelled lines | licence |
|---|---|---|---|
{rows}
{more}
`prompts/NAME/templates.jsonl` holds constant text of these logs. The weights and prompts were trained on them: whoever
may not have the logs should not have this folder either.

```json
{json.dumps(asdict(configuration), indent=2)}
```
""",
        encoding="utf-8",
    )


class Learner:
    """Learns the weights and the prompts, stage by stage."""

    def __init__(
        self,
        start: Path,
        sources: Sequence[Source],
        configuration: Configuration,
        group: Group,
        *,
        notes: bool = False,
    ) -> None:
        self.report: dict[str, object] = {}
        self.curve: list[dict[str, float]] = []
        self._start = start
        self._configuration = configuration
        self._group = group
        self._notes = notes
        self._about = read_about(start)
        self._network, self._config, self._tokenizer = continued(start)
        self._network.to(group.device)
        self._special = special_tokens(self._tokenizer)
        self._dtype = serving_dtype(group.device)
        #: Made when the first stage that learns them begins.
        self._prompts: dict[str, Prompt] = {}
        depth = self._config["num_hidden_layers"]
        if configuration.layers > depth:
            raise WrongSettings(f"layers is {configuration.layers}; the encoder has {depth}")
        self._lessons = [
            (source.name, lesson)
            for source in sources
            for lesson in lessons(
                source.log,
                source.shots,
                per_template=configuration.lines_per_template,
                seed=configuration.seed,
            )
        ]
        self._kept: list[tuple[str, Lesson]] = []
        if configuration.validation:
            self._keep_some()
        self._variations = {
            source.name: Variations(
                [lesson for name, lesson in self._lessons if name == source.name],
                share=configuration.swapped,
                seed=configuration.seed,
            )
            for source in sources
        }
        self._changes_weights = False

    def _new_prompt(self, name: str) -> Prompt:
        """Make a prompt that changes little at first; its virtual label tokens begin as the checkpoint's own."""
        hidden, layers = self._config["hidden_size"], self._config["num_hidden_layers"]
        length, depth = self._configuration.prompt_length, self._configuration.prefix_length
        device = self._group.device

        def parameter(*shape: int) -> Tensor:
            return nn.Parameter(torch.randn(*shape, device=device) * 0.1)

        return Prompt(
            name=name,
            vectors=parameter(length, hidden),
            keys=parameter(layers, depth, hidden),
            values=parameter(layers, depth, hidden),
            head_weight=nn.Parameter(self._network.head.weight.detach().clone()),
            head_bias=nn.Parameter(self._network.head.bias.detach().clone()),
            cuts=PIECES,
        )

    def _keep_some(self) -> None:
        """Keep a share of the labelled templates from training; at least one, and never all."""
        shapes = sorted({_shape(name, lesson) for name, lesson in self._lessons})
        random.Random(self._configuration.seed).shuffle(shapes)
        kept = set(shapes[: max(1, round(len(shapes) * self._configuration.validation))] if len(shapes) > 1 else [])
        self._kept = [found for found in self._lessons if _shape(*found) in kept]
        self._lessons = [found for found in self._lessons if _shape(*found) not in kept]

    def learn(self) -> None:
        """Go through the stages of the method."""
        stages: dict[str, tuple[tuple[bool, bool], ...]] = {
            "fine-tune": ((True, False),),
            "prompt-tune": ((False, True),),
            "fine-tune-first": ((True, False), (False, True)),
            "prompt-first": ((False, True), (True, False)),
            "joint": ((True, True),),
        }
        method = self._configuration.method
        for weights, prompts in stages[self._configuration.order if method == "fuse" else method]:
            self._stage(weights=weights, prompts=prompts)
        self._network.eval()
        self.report["curve"] = self.curve
        self.report["lessons"] = len(self._lessons)

    def _stage(self, *, weights: bool, prompts: bool) -> None:
        configuration = self._configuration
        steps = configuration.steps * max(1, len({name for name, _ in self._lessons}))
        self._changes_weights |= weights
        if prompts and not self._prompts:
            # Of what an earlier stage made of the head; a source without labelled lines has nothing to learn one from.
            names = sorted({name for name, _ in [*self._lessons, *self._kept]})
            self._prompts = {name: self._new_prompt(name) for name in names}
        self._modules = nn.ModuleList(
            [self._network, *(nn.ParameterList(prompt.tensors().values()) for prompt in self._prompts.values())]
        )
        trained = self._trained(weights=weights, prompts=prompts)
        # What is new was drawn at random, and dropout draws differently in each process.
        self._group.same_weights(self._modules)
        optimizer = torch.optim.AdamW(trained, weight_decay=configuration.weight_decay)
        rates = [group["lr"] for group in optimizer.param_groups]
        batches = self._batches(random.Random(configuration.seed))
        progress = Progress(steps, "steps", notes=None) if not self._notes else Progress(steps, "steps")
        every = max(1, steps // configuration.looks)
        best, best_state, looks_without_gain, losses = float("inf"), None, 0, list[float]()
        first = len(self.curve) and int(self.curve[-1]["step"])
        for step in range(1, steps + 1):
            scale = min(1.0, step / max(1.0, configuration.warm_up * steps)) * (1 - (step - 1) / steps)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = scale * rate
            self._network.train()
            losses.append(self._step(next(batches), optimizer))
            is_look = bool(self._kept) and (step % every == 0 or step == steps)
            if step % _CURVE_STEPS == 0 or is_look or step == steps:
                point = {"step": float(first + step), "loss": float(np.mean(losses))}
                losses.clear()
                if is_look:
                    point["validation_loss"] = self._validation_loss()
                    if point["validation_loss"] < best:
                        best, best_state, looks_without_gain = point["validation_loss"], self._state(), 0
                    else:
                        looks_without_gain += 1
                self.curve.append(point)
                progress.tell(step, **{name: value for name, value in point.items() if name != "step"})
                if looks_without_gain > configuration.patience:
                    break
        if best_state is not None:
            self._restore(best_state)
            self.report["validation_loss"] = best
        if configuration.lora_rank and weights:
            merge_lora(self._network)

    def _batches(self, rng: random.Random) -> Iterator[list[tuple[str, Lesson]]]:
        """Draw batches without end, by the weights of the lessons; those of a batch have about one length."""
        weights, size = [lesson.weight for _, lesson in self._lessons], self._configuration.batch_lessons
        while True:
            drawn = rng.choices(self._lessons, weights, k=_BATCHES_SORTED * size)
            varied = [(name, self._variations[name].varied(lesson)) for name, lesson in drawn]
            varied.sort(key=lambda found: len(found[1].text))
            batches = [varied[first : first + size] for first in range(0, len(varied), size)]
            rng.shuffle(batches)
            yield from batches

    def _trained(self, *, weights: bool, prompts: bool) -> list[dict[str, object]]:
        """Choose what is trained, with its learning rate; all else is frozen."""
        configuration = self._configuration
        self._network.requires_grad_(False)
        self._modules.zero_grad()  # what an earlier stage left would be clipped with the rest
        groups: list[dict[str, object]] = []
        if weights:
            if configuration.lora_rank:
                encoder = add_lora(self._network, configuration.lora_rank)
            else:
                encoder = self._encoder_parameters()
            head = [
                *self._network.head.parameters(),
                *([] if configuration.layers else self._network.features.parameters()),
            ]
            for parameter in [*encoder, *head]:
                parameter.requires_grad_(True)
            groups += [
                {"params": encoder, "lr": configuration.learning_rate},
                {"params": head, "lr": configuration.head_learning_rate},
            ]
        for prompt in self._prompts.values():
            heads = [prompt.head_weight, prompt.head_bias]
            for tensor in prompt.tensors().values():
                tensor.requires_grad_(prompts)
            if prompts:
                groups += [
                    {
                        "params": [prompt.vectors, prompt.keys, prompt.values],
                        "lr": configuration.prompt_learning_rate,
                        "weight_decay": 0.0,
                    },
                    {"params": heads, "lr": configuration.head_learning_rate},
                ]
        return groups

    def _encoder_parameters(self) -> list[nn.Parameter]:
        """Choose the encoder's weights that are trained: all but the word embeddings, or the last layers."""
        if self._configuration.layers:
            return encoder_layers(self._network, self._configuration.layers)
        named = self._network.encoder.named_parameters()
        return [parameter for name, parameter in named if "word_embeddings" not in name]

    def _step(self, batch: Sequence[tuple[str, Lesson]], optimizer: torch.optim.Optimizer) -> float:
        """Take one step; returns the loss."""
        mine = self._group.share(batch)
        loss_value, tokens = 0.0, 0
        optimizer.zero_grad()
        if mine:
            loss, tokens = self._loss(mine)
            loss.backward()  # type: ignore[no-untyped-call]
            loss_value = loss.item()
        self._group.mean_gradients(self._modules, weight=tokens)
        nn.utils.clip_grad_norm_([one for one in self._modules.parameters() if one.grad is not None], 1.0)
        optimizer.step()
        return self._group.mean(loss_value, weight=tokens)

    def _loss(self, batch: Sequence[tuple[str, Lesson]]) -> tuple[Tensor, int]:
        """Compute the mean cross-entropy over the tokens of a batch, and count them."""
        most = min(self._about.max_tokens - 2, 254)
        rows = tokenize(self._tokenizer, [readable(lesson.text) for _, lesson in batch])
        found = [token_labels(row, lesson.spans)[:most] for row, (_, lesson) in zip(rows, batch, strict=True)]
        rows = [sliced(row, 0, min(len(row.ids), most)) for row in rows]
        width = max(len(row.ids) for row in rows) + 2
        labels = padded_labels(found, width)
        device = self._group.device
        prompt = PromptBatch.of([self._prompts.get(name) for name, _ in batch])
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            scores = self._network(*(part.to(device) for part in padded_rows(rows, self._special, width)), prompt)
        smoothing = self._configuration.label_smoothing if self._network.training else 0.0
        summed = nn.functional.cross_entropy(
            scores.float().flatten(0, 1),
            torch.from_numpy(labels).to(device).flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )
        tokens = int((labels != IGNORED).sum())
        return summed / max(1, tokens), tokens  # lines of control characters have no tokens

    def _validation_loss(self) -> float:
        """Measure the loss on what was kept, every template alike."""
        self._network.eval()
        by_template: dict[tuple[str, str], list[tuple[str, Lesson]]] = defaultdict(list)
        for found in self._kept:
            by_template[_shape(*found)].append(found)
        with torch.no_grad():
            losses = [self._loss(kept)[0].item() for kept in by_template.values()]
        # The same in all processes to the last bit: else one could stop while the others wait for it.
        return self._group.mean(float(np.mean(losses)))

    def _state(self) -> dict[str, Tensor]:
        """Copy what is trained."""
        return {
            name: tensor.detach().clone() for name, tensor in self._modules.named_parameters() if tensor.requires_grad
        }

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self._modules.named_parameters():
                if name in state:
                    tensor.copy_(state[name])

    def write(self, checkpoint: Path) -> None:
        """Write the checkpoint, as it was where only prompts were learned, and the prompts."""
        if self._changes_weights:
            about: About = replace(
                self._about,
                name=f"{self._about.name}-taught",
                origin=f"{self._about.name}, {json.dumps(asdict(self._configuration))}",
                cuts=PIECES,
            )
            write_checkpoint(checkpoint, self._network, self._config, self._tokenizer, about)
        else:
            copy_checkpoint(self._start, checkpoint)
        for prompt in self._prompts.values():
            write_prompt(checkpoint, prompt)


def _shape(name: str, lesson: Lesson) -> tuple[str, str]:
    """Tell lessons of one template by the text between the parameters."""
    edges = [0, *(edge for span in lesson.spans for edge in span), len(lesson.text)]
    return name, "<*>".join(lesson.text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2))
