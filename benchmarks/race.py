"""Methods that train in turns, a part of the run at a time, until each has reached a target or has run its course."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import torch
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.numbers import significant
from benchmarks.tables import titled, with_quartiles
from benchmarks.timing import Spread, ratios
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.study_display import StudyDisplay

REFERENCE = "adamw"


class Goal(NamedTuple):
    """When a run is good enough.

    Args:
        score: what is measured on examples held out.
        target: what it must reach.
        higher: whether it is to rise.
        part: what a part of the run is called; the score is looked at after each.
    """

    score: str
    target: float
    higher: bool
    part: str

    def reached(self, score: float) -> bool:
        return score >= self.target if self.higher else score <= self.target


class Part(NamedTuple):
    """A part of a run: its seconds of training, without evaluation, and the score after it."""

    seconds: float
    score: float


class Lesson(Protocol):
    """A run that can be trained a part at a time."""

    @property
    def lr(self) -> float: ...

    @property
    def steps_per_part(self) -> int: ...

    def run_part(self, on_step: Callable[[float], None]) -> Part:
        """Train the next part; `on_step` is told the loss of every step."""


@dataclass(frozen=True)
class Row:
    """One method's run.

    Args:
        seconds: of training in all.
        ratio: of these to AdamW's; its quartiles are over the parts, each to AdamW's same part.
        seconds_to_target: of training until the first part that ended there; None where none did.
        parts: in order.
    """

    method: str
    lr: float
    seconds: float
    ratio: Spread
    seconds_to_target: float | None
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a score that is not finite is null."""
        row: dict[str, Any] = plain(
            {**asdict(self), "ratio": self.ratio._asdict(), "parts": [part._asdict() for part in self.parts]}
        )
        return row


def run(lessons: Mapping[str, Lesson], parts: int, goal: Goal, display: StudyDisplay) -> list[Row]:
    """All parts of every lesson, AdamW's among them; with every part the next method begins."""
    names = list(lessons)
    done: dict[str, list[Part]] = {name: [] for name in names}
    display.begin(parts * len(names))
    for i in range(parts):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            what = f"{name}, {goal.part} {i + 1}"
            display.started(what, lessons[name].steps_per_part)
            done[name].append(lessons[name].run_part(display.stepped))
            display.finished(what, f"{goal.score} {significant(done[name][-1].score, 4)}")
    return [_row(name, lessons[name].lr, done[name], done[REFERENCE], goal) for name in names]


def _row(name: str, lr: float, parts: Sequence[Part], reference: Sequence[Part], goal: Goal) -> Row:
    seconds, of_reference = ([part.seconds for part in each] for each in (parts, reference))
    by_part = ratios(seconds, of_reference)
    ratio = Spread(sum(seconds) / sum(of_reference), by_part.lower, by_part.upper)
    until = accumulate(seconds)
    to_target = next((s for s, part in zip(until, parts, strict=True) if goal.reached(part.score)), None)
    return Row(name, lr, sum(seconds), ratio, to_target, tuple(parts))


def report(rows: Sequence[Row], goal: Goal, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "train",
        "hardware": describe(torch.device("cpu")),
        "dtype": "float32",
        "settings": dict(settings),
        "goal": goal._asdict(),
        "reference": REFERENCE,
        "rows": [row.to_dict() for row in rows],
    }


def table(rows: Sequence[Row], goal: Goal, what: str) -> Table:
    """A line for every method."""
    caption = (
        f"Seconds of training, evaluation left out; to the target by whole parts of the run ({goal.part}s). Ratio: of "
        f"all seconds to those of {REFERENCE}; in brackets the quartiles of that over the {goal.part}s, in turns."
    )
    result = titled(what, torch.device("cpu"), caption)
    result.add_column("method", no_wrap=True)
    bound = ">=" if goal.higher else "<="
    columns = ("lr", goal.score, f"s to {bound} {goal.target:g}", "s in all", f"x {REFERENCE}")
    for column in columns:
        result.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        result.add_row(
            row.method,
            f"{row.lr:g}",
            significant(row.parts[-1].score, 4),
            "never" if row.seconds_to_target is None else significant(row.seconds_to_target),
            significant(row.seconds),
            with_quartiles(row.ratio),
        )
    return result
