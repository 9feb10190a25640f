"""What erasure showed, in words and numbers drawn from its trials alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from modular_manifolds.experiments.erasure.setting import Setting
from modular_manifolds.experiments.erasure.study import Finished
from modular_manifolds.experiments.erasure.trial import Outcome
from modular_manifolds.experiments.erasure.updates import METHODS
from modular_manifolds.experiments.summary import Spread


@dataclass(frozen=True)
class Cell:
    """A method at one learning rate in one setting, an outcome a seed."""

    setting: Setting
    method: str
    lr: float
    outcomes: tuple[Outcome, ...]

    def spread(self, measure: str) -> Spread:
        """Mean and deviation over the seeds of the field of `Outcome` called `measure`."""
        return Spread.of(getattr(outcome, measure) for outcome in self.outcomes)

    @property
    def left(self) -> float:
        """The share of the picture's contrast at the start that is left; 0 for one turned into its negative."""
        return max(0.0, fmean(o.contrast / o.start_contrast for o in self.outcomes))


def cells(finished: Finished, setting: Setting, method: str) -> list[Cell]:
    """At every learning rate, ascending."""
    by_lr: dict[float, list[Outcome]] = {}
    for trial, outcome in finished.outcomes.items():
        if (trial.setting, trial.method) == (setting, method):
            by_lr.setdefault(trial.lr, []).append(outcome)
    return [Cell(setting, method, lr, tuple(by_lr[lr])) for lr in sorted(by_lr)]


def best(finished: Finished, setting: Setting) -> dict[str, Cell]:
    """Every method at its learning rate of highest test accuracy."""
    return {
        method: max(cells(finished, setting, method), key=lambda cell: cell.spread("test_accuracy").mean)
        for method in finished.erasure.methods
    }


def headline(finished: Finished) -> str:
    """One sentence: what is left of the picture where each method trains best."""
    setting = finished.erasure.settings[0]
    parts = [f"{cell.left:.0%} with {method} updates" for method, cell in best(finished, setting).items()]
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return f"At the learning rate that trains best, training leaves {listed} of the picture's contrast."


def sentences(finished: Finished, setting: Setting) -> Iterator[str]:
    """A sentence for every method in `setting`."""
    for method, cell in best(finished, setting).items():
        accuracy, correlation = cell.spread("test_accuracy"), cell.spread("correlation")
        rank, start = cell.spread("update_rank"), cell.outcomes[0].start_contrast
        yield (
            f"{method} ({METHODS[method].summary}) trains best at lr {cell.lr:g}: {accuracy.text(1)} % of the test "
            f"images. {cell.left:.0%} of the picture's contrast, which begins at {start:.2f}, is left; the matrix and "
            f"its start have a cosine of {correlation.text(2)}. Its updates have a stable rank of {rank.text(1)}."
        )
