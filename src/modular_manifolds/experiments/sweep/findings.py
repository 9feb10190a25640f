"""What a sweep found: the best learning rate of every method, how good it is, and how wide the good range."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from modular_manifolds.experiments.summary import Spread
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.trial import Outcome

REFERENCE = "adamw"
"""The method whose best the others are to beat."""


@dataclass(frozen=True)
class Measure:
    """What trials are judged by: a cost, the lower the better, and how people read it."""

    name: str
    unit: str
    cost: Callable[[Outcome], float]
    shown: Callable[[float], float]
    """The number to show for a cost."""
    good: Callable[[float], float]
    """The largest cost that is still good, of the best one."""
    goodness: str
    """The same in words."""


ACCURACY = Measure(
    "test accuracy",
    " %",
    cost=lambda outcome: 100 - (outcome.accuracy or 0.0),
    shown=lambda cost: 100 - cost,
    good=lambda best: best + 1,
    goodness="within 1 point of the method's best mean accuracy",
)
LOSS = Measure(
    "held-out loss",
    "",
    cost=lambda outcome: outcome.held_out_loss,
    shown=lambda cost: cost,
    good=lambda best: 1.01 * best,
    goodness="within 1 % of the method's lowest mean loss",
)


@dataclass(frozen=True)
class Range:
    """Learning rates from `low` to `high`; open where the lowest, or highest, one tried is still inside."""

    low: float
    high: float
    low_open: bool
    high_open: bool

    @property
    def width(self) -> float:
        """The largest over the smallest."""
        return self.high / self.low

    @property
    def open(self) -> bool:
        """Whether it may be wider than what was tried."""
        return self.low_open or self.high_open

    @property
    def text(self) -> str:
        """The width, and whether it is only a lower bound."""
        return f"{'≥ ' if self.open else ''}{self.width:.1f}×"


@dataclass(frozen=True)
class Curve:
    """One method with one weight decay and format of the weights: an outcome a seed by learning rate, ascending."""

    method: str
    weights: WeightFormat
    weight_decay: float | None
    measure: Measure
    outcomes: Mapping[float, tuple[Outcome, ...]]

    def cost(self, lr: float) -> float:
        """Mean over the seeds."""
        return self.spread(lr).mean

    def spread(self, lr: float) -> Spread:
        """Of the costs over the seeds; infinite with one that is."""
        costs = [self.measure.cost(outcome) for outcome in self.outcomes[lr]]
        return Spread.of(costs) if all(map(math.isfinite, costs)) else Spread(math.inf, math.nan, len(costs))

    @property
    def best(self) -> float:
        """The learning rate of lowest mean cost."""
        return min(self.outcomes, key=self.cost)

    @property
    def best_cost(self) -> float:
        """The lowest mean cost."""
        return self.cost(self.best)

    @property
    def good(self) -> Range | None:
        """Around the best rate, where the mean is good; None if nothing is finite."""
        return self.below(self.measure.good(self.best_cost))

    def below(self, threshold: float) -> Range | None:
        """Around the best rate, where the mean cost is at most this: between two rates, linear in the rate's logarithm.

        None if it is not even at the best rate.
        """
        costs = {lr: self.cost(lr) for lr in self.outcomes}
        if not costs[self.best] <= threshold < math.inf:
            return None
        rates = list(costs)
        middle = rates.index(self.best)
        low, low_open = _edge(rates[middle::-1], costs, threshold)
        high, high_open = _edge(rates[middle:], costs, threshold)
        return Range(low, high, low_open, high_open)

    @property
    def diverged(self) -> int:
        """Trials that did."""
        return sum(outcome.diverged for outcomes in self.outcomes.values() for outcome in outcomes)

    @property
    def trials(self) -> int:
        """How many there are."""
        return sum(map(len, self.outcomes.values()))


def _edge(rates: list[float], costs: Mapping[float, float], threshold: float) -> tuple[float, bool]:
    """Where the threshold is crossed, going from the first of `rates`; the last of them and True where it is not."""
    for inside, outside in pairwise(rates):
        if costs[outside] > threshold:
            share = (threshold - costs[inside]) / (costs[outside] - costs[inside])  # 0 where a cost is infinite
            return inside * (outside / inside) ** share, False
    return rates[-1], True


@dataclass(frozen=True)
class Findings:
    """All curves, in the order of the methods, formats and weight decays."""

    measure: Measure
    chance: float
    """The loss of guessing all classes alike."""
    curves: tuple[Curve, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """By name."""
        return tuple(dict.fromkeys(curve.method for curve in self.curves))

    @property
    def formats(self) -> tuple[WeightFormat, ...]:
        """Of the weights."""
        return tuple(dict.fromkeys(curve.weights for curve in self.curves))

    def best(self, method: str, weights: WeightFormat) -> Curve:
        """That of the weight decay of lowest cost."""
        curves = [curve for curve in self.curves if (curve.method, curve.weights) == (method, weights)]
        return min(curves, key=lambda curve: curve.best_cost)

    def best_of(self, weights: WeightFormat) -> dict[str, Curve]:
        """Every method's, by name."""
        return {method: self.best(method, weights) for method in self.methods}

    def beats_reference(self, curve: Curve) -> Range | None:
        """Where a method is better than AdamW's best, of the same format; None where nowhere, or without AdamW."""
        if REFERENCE not in self.methods or curve.method == REFERENCE:
            return None
        bar = self.best(REFERENCE, curve.weights).best_cost
        return curve.below(bar) if curve.best_cost < bar else None
