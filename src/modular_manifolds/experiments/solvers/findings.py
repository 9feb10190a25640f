"""What the solvers showed, in words and numbers drawn from their trials alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import median

from modular_manifolds.experiments.solvers.ladder import REFERENCE
from modular_manifolds.experiments.solvers.trial import Outcome, Trial
from modular_manifolds.experiments.summary import Spread

_FEWEST_SEEDS = 3
"""From which noise is told from differences."""


@dataclass(frozen=True)
class Cell:
    """A solver at one learning rate: an outcome a seed, seeds ascending."""

    solver: str
    lr: float
    by_seed: Mapping[int, Outcome]

    def spread(self, measure: str) -> Spread:
        """Mean and deviation over the seeds of the field of `Outcome` called `measure`."""
        return Spread.of(getattr(outcome, measure) for outcome in self.by_seed.values())

    def less(self, other: "Cell", measure: str) -> Spread:
        """Of the differences to `other`, seed by seed: both begin at the same weights and see the same batches."""
        shared = [seed for seed in self.by_seed if seed in other.by_seed]
        return Spread.of(getattr(self.by_seed[s], measure) - getattr(other.by_seed[s], measure) for s in shared)


@dataclass(frozen=True)
class Findings:
    """Cells by solver and learning rate."""

    cells: Mapping[tuple[str, float], Cell]

    @classmethod
    def of(cls, outcomes: Mapping[Trial, Outcome]) -> "Findings":
        """The trials gathered over their seeds."""
        gathered: dict[tuple[str, float], dict[int, Outcome]] = {}
        for trial, outcome in outcomes.items():
            gathered.setdefault((trial.solver, trial.lr), {})[trial.seed] = outcome
        return cls({key: Cell(*key, dict(sorted(by_seed.items()))) for key, by_seed in gathered.items()})

    @property
    def solvers(self) -> list[str]:
        """In order of the study."""
        return list(dict.fromkeys(solver for solver, _ in self.cells))

    @property
    def lrs(self) -> list[float]:
        """Ascending."""
        return sorted({lr for _, lr in self.cells})

    @property
    def best_lr(self) -> float:
        """At which the exact direction ends with the highest mean test accuracy."""
        return max(self.lrs, key=lambda lr: self.cells[REFERENCE, lr].spread("test_accuracy").mean)

    def best(self, solver: str) -> Cell:
        """At the solver's own learning rate of highest mean test accuracy."""
        return max((self.cells[solver, lr] for lr in self.lrs), key=lambda cell: cell.spread("test_accuracy").mean)

    def difference(self, solver: str, lr: float, measure: str) -> Spread:
        """To the exact direction."""
        return self.cells[solver, lr].less(self.cells[REFERENCE, lr], measure)

    def noise(self, solver: str, lr: float, measure: str) -> float:
        """Two standard errors of that difference; nan where no solver has three seeds.

        The variance of a difference between runs of one seed is the median of those of all solvers whose runs part from
        the exact ones, as a few seeds are too few to tell it for each; or the solver's own, if that is larger.
        """
        differences = {other: self.difference(other, lr, measure) for other in self.solvers}
        variances = [each.std**2 for each in differences.values() if each.count >= _FEWEST_SEEDS and each.std > 0]
        if not variances:
            return nan
        own = differences[solver]
        return 2 * sqrt(max(median(variances), own.std**2) / own.count)

    def apart(self, measure: str) -> list[str]:
        """Solvers that differ from the exact direction by more than the noise, at its best learning rate."""
        lr = self.best_lr
        return [
            solver
            for solver in self.solvers
            if abs(self.difference(solver, lr, measure).mean) > self.noise(solver, lr, measure)
        ]


def headline(findings: Findings) -> str:
    """One sentence: does an exact direction matter?"""
    lr = findings.best_lr
    others = [solver for solver in findings.solvers if solver != REFERENCE]
    apart = findings.apart("test_accuracy")
    gaps = [findings.cells[solver, lr].spread("gap").mean for solver in others if solver not in apart]
    if isnan(findings.noise(REFERENCE, lr, "test_accuracy")):
        return (
            f"Fewer than {_FEWEST_SEEDS} seeds do not say whether an exact direction matters to the final accuracy; "
            f"{len(others)} solvers were compared with it."
        )
    if not apart:
        return (
            f"At lr {lr:g} an exact direction does not matter to the final accuracy: none of {len(others)} solvers, "
            f"which miss up to {max(gaps):.0%} of the steepest decrease, differs from it by more than noise."
        )
    listed = ", ".join(
        f"{solver} ({findings.difference(solver, lr, 'test_accuracy').mean:+.2f} points at a gap of "
        f"{findings.cells[solver, lr].spread('gap').mean:.0%})"
        for solver in apart
    )
    rest = f"; the other {len(gaps)}, with gaps up to {max(gaps):.0%}, do not" if gaps else ""
    return f"At lr {lr:g}, {listed} end{'s' * (len(apart) == 1)} apart from the exact direction in test accuracy{rest}."
