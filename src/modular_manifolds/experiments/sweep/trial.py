"""What a trial is, how it went, and the row of results.json that says both."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.sweep.formats import WeightFormat

_POINTS = 100
"""The curve of the training loss has so many points, or one a step."""

_LAST = 10
"""The final training loss is the mean over the last one in so many steps."""

_DIGITS = 5
"""Significant ones, of numbers that are only drawn."""


@dataclass(frozen=True)
class Trial:
    """What to train, and how. `recipe` says what the method's name stands for; a trial with another is another.

    `weight_decay` is AdamW's, and None of methods that are swept without one.
    """

    method: str
    recipe: str
    lr: float
    weight_decay: float | None
    weights: WeightFormat
    seed: int

    @property
    def label(self) -> str:
        """In a few words."""
        decay = "" if self.weight_decay is None else f", decay {self.weight_decay:g}"
        weights = "" if self.weights is WeightFormat.FLOAT32 else f", {self.weights}"
        return f"{self.method}{weights}, lr {self.lr:.3g}{decay}, seed {self.seed}"


@dataclass(frozen=True)
class Spectrum:
    """Smallest, median and largest singular value of a matrix, at each of `Inside.steps`."""

    name: str
    values: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Inside:
    """What goes on in a transformer.

    `activation_rms`: of the stream after each block, over held-out text; `attention_logits`: the largest |q k| of each
    layer there; both at the end. `spectra`: of the blocks' matrices, as the network computes with them. `sample`: text
    that it writes.
    """

    activation_rms: tuple[float, ...]
    attention_logits: tuple[float, ...]
    steps: tuple[int, ...]
    spectra: tuple[Spectrum, ...]
    sample: str


@dataclass(frozen=True)
class Outcome:
    """How it went.

    `held_out_loss` is the mean cross-entropy of what was not trained on, infinite where it is not finite; `accuracy`,
    in percent, is of images only. `train_loss` is that of the batches of the last tenth of the run, each before its
    step. A trial has diverged if a loss or gradient was not finite, or if `train_loss` is above that of guessing all
    classes alike. `seconds` is processor time of training, `optimizer_seconds` the part of it inside optimizers.
    `violation` is how far the weights that the network computes with are off their manifolds, None without manifolds.
    `train_curve` has means over `curve_every` steps; `held_out_curve` has steps, and the losses then on
    an eighth of the held-out text.
    """

    held_out_loss: float
    accuracy: float | None
    train_loss: float
    diverged: bool
    steps: int
    seconds: float
    optimizer_seconds: float
    violation: float | None
    curve_every: int
    train_curve: tuple[float, ...]
    held_out_curve: tuple[tuple[int, float], ...] = ()
    inside: Inside | None = None

    @property
    def summary(self) -> str:
        """In a line."""
        accuracy = "" if self.accuracy is None else f", {self.accuracy:.2f} %"
        diverged = ", diverged" if self.diverged else ""
        return f"held-out loss {self.held_out_loss:.4f}{accuracy}{diverged}, {self.seconds:.1f} s"


def final_loss(losses: Sequence[float]) -> float:
    """Mean over the last tenth; infinite where one is not finite."""
    mean = fmean(losses[-max(len(losses) // _LAST, 1) :])
    return mean if math.isfinite(mean) else math.inf


def curve_every(steps: int) -> int:
    """Steps that one point of the training curve stands for, in a run of so many."""
    return max(steps // _POINTS, 1)


def curve(losses: Sequence[float], every: int) -> tuple[float, ...]:
    """Means over so many steps."""
    return tuple(brief(fmean(losses[i : i + every])) for i in range(0, len(losses), every))


def brief(number: float) -> float:
    """To as many digits as a figure shows."""
    return float(f"{number:.{_DIGITS}g}")


def row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """Of results.json: plain JSON values only, None for numbers that are not finite."""
    data: dict[str, Any] = plain({**asdict(trial), "outcome": asdict(outcome)})
    return data


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """The inverse of `row`."""
    trial = {name: value for name, value in row.items() if name != "outcome"}
    data, inside = row["outcome"], row["outcome"]["inside"]
    outcome = Outcome(
        **{
            **data,
            "held_out_loss": _or_inf(data["held_out_loss"]),
            "train_loss": _or_inf(data["train_loss"]),
            "train_curve": tuple(map(_or_inf, data["train_curve"])),
            "held_out_curve": tuple((step, _or_inf(loss)) for step, loss in data["held_out_curve"]),
            "inside": None if inside is None else _inside(inside),
        }
    )
    return Trial(**{**trial, "weights": WeightFormat(trial["weights"])}), outcome


def _inside(data: Mapping[str, Any]) -> Inside:
    return Inside(
        **{
            **data,
            "activation_rms": tuple(map(_or_inf, data["activation_rms"])),
            "attention_logits": tuple(map(_or_inf, data["attention_logits"])),
            "steps": tuple(data["steps"]),
            "spectra": tuple(map(_spectrum, data["spectra"])),
        }
    )


def _spectrum(data: Mapping[str, Any]) -> Spectrum:
    values = ((_or_inf(low), _or_inf(middle), _or_inf(high)) for low, middle, high in data["values"])
    return Spectrum(data["name"], tuple(values))


def _or_inf(number: float | None) -> float:
    return math.inf if number is None else number
