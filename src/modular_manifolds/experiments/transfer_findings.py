"""What a transfer study found: loss against learning rate for every network, and how far the best rate moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, nan
from statistics import fmean

from modular_manifolds.experiments.transfer_search import FACTOR
from modular_manifolds.experiments.transfer_trial import Outcome, Sweep


@dataclass(frozen=True)
class Curve:
    """One network: an outcome a seed by learning rate, rates ascending."""

    outcomes: Mapping[float, tuple[Outcome, ...]]

    def train_loss(self, lr: float) -> float:
        """Mean over the seeds; infinite if one of them diverged."""
        return fmean(outcome.train_loss for outcome in self.outcomes[lr])

    def test_loss(self, lr: float) -> float:
        """Mean over the seeds; infinite if one of them diverged."""
        return fmean(outcome.test_loss for outcome in self.outcomes[lr])

    @property
    def best(self) -> float:
        """The learning rate of lowest training loss."""
        return min(self.outcomes, key=self.train_loss)

    @property
    def best_by_test(self) -> float:
        """The learning rate of lowest test loss."""
        return min(self.outcomes, key=self.test_loss)

    @property
    def inside(self) -> bool:
        """Whether twice and half the best rate have been tried, so that it is the best of more than those tried."""
        return self.best * FACTOR in self.outcomes and self.best / FACTOR in self.outcomes


@dataclass(frozen=True)
class Family:
    """The networks of one method in one sweep, by size, in the order of the sweep."""

    curves: Mapping[int, Curve]

    @property
    def shift(self) -> int:
        """Factors of 2 between the smallest and the largest of the best learning rates."""
        return _factors([curve.best for curve in self.curves.values()])

    @property
    def shift_by_test(self) -> int:
        """The same of the learning rates that are best by test loss."""
        return _factors([curve.best_by_test for curve in self.curves.values()])

    @property
    def kept_lr(self) -> float:
        """The best learning rate of the first size."""
        return next(iter(self.curves.values())).best

    @property
    def price(self) -> float:
        """How much more than its best the last size loses at the rate that was best for the first; nan if not tried."""
        last = list(self.curves.values())[-1]
        return last.train_loss(self.kept_lr) - last.train_loss(last.best) if self.kept_lr in last.outcomes else nan


@dataclass(frozen=True)
class Findings:
    """All families, by sweep and method; `chance` is the loss of guessing all classes alike."""

    title: str
    chance: float
    families: Mapping[tuple[Sweep, str], Family]

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Rows of the figure."""
        return tuple(dict.fromkeys(sweep for sweep, _ in self.families))

    @property
    def methods(self) -> tuple[str, ...]:
        """Columns of the figure."""
        return tuple(dict.fromkeys(method for _, method in self.families))


def _factors(rates: list[float]) -> int:
    return round(log2(max(rates) / min(rates)))
