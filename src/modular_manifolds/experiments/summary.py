"""Runs gathered over their seeds, and the best learning rate of every method."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from modular_manifolds.experiments.results import Result


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and sample standard deviation (0 for a single seed)."""

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of `values`; nan if any of them is."""
        values = list(values)
        if any(math.isnan(value) for value in values):
            return cls(math.nan, math.nan, len(values))
        return cls(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values))

    def text(self, digits: int) -> str:
        """`mean ± std`; the mean alone of a single value, and a word instead of nan."""
        if math.isnan(self.mean):
            return "diverged"
        mean = f"{self.mean:.{digits}f}"
        return f"{mean} ± {self.std:.{digits}f}" if self.count > 1 else mean


@dataclass(frozen=True)
class Group:
    """The runs of one method at one learning rate, a seed each."""

    method: str
    lr: float
    results: tuple[Result, ...]

    def spread(self, measure: str) -> Spread:
        """Mean and deviation over the seeds of the field of `Result` called `measure`."""
        return Spread.of(getattr(result, measure) for result in self.results)

    @property
    def test_accuracy(self) -> Spread:
        """In percent."""
        return self.spread("test_accuracy")

    @property
    def step_milliseconds(self) -> float:
        """Mean time of one optimizer step."""
        return 1000 * fmean(result.optimizer_seconds / result.steps for result in self.results)

    @property
    def step_time(self) -> str:
        """The same to three digits, and never as a power of ten."""
        time = self.step_milliseconds
        return f"{time:.0f}" if time >= 1000 else f"{time:.3g}"

    @property
    def singular_value_range(self) -> tuple[float, float]:
        """Smallest and largest over all layers and seeds."""
        layers = [layer for result in self.results for layer in result.layers]
        smallest = -_largest(-layer.min_singular_value for layer in layers)
        return smallest, _largest(layer.max_singular_value for layer in layers)

    @property
    def violation(self) -> float:
        """Largest distance from the Stiefel manifold over all layers and seeds."""
        return _largest(result.violation for result in self.results)


def _largest(values: Iterable[float]) -> float:
    """As `max`, which may lose a nan."""
    return max(values, key=lambda value: math.inf if math.isnan(value) else value)


def group_by_lr(results: Iterable[Result]) -> dict[str, list[Group]]:
    """The groups of every method, learning rates ascending; methods in order of appearance."""
    gathered: dict[str, dict[float, list[Result]]] = {}
    for result in results:
        gathered.setdefault(result.method, {}).setdefault(result.lr, []).append(result)
    return {method: [Group(method, lr, tuple(by_lr[lr])) for lr in sorted(by_lr)] for method, by_lr in gathered.items()}


def best_by_method(results: Iterable[Result]) -> dict[str, Group]:
    """For every method, its learning rate of highest mean test accuracy."""
    return {
        method: max(groups, key=lambda group: group.test_accuracy.mean)
        for method, groups in group_by_lr(results).items()
    }
