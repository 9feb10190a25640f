"""How a study of tightness shows that it is under way: bars on a terminal, one line a network elsewhere."""

from collections.abc import Sequence

from modular_manifolds.experiments.results import Epoch, Result
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.two_bars import TwoBars


class TightnessDisplay(TwoBars):
    """Two progress bars, for all networks and for the current one: its training, or the search in it.

    It is the display of a comparison, too, which does the training.
    """

    label = "trained and measured"

    def expect(self, items: int) -> None:
        """How many networks there are to train and to measure."""
        self._total = items
        self._progress.update(self._all, total=items)

    def begin(self, runs: int, finished: Sequence[Result]) -> None:
        """The trainings of one depth, and those of them that were finished before."""
        self._advance(len(finished))

    def run_started(self, run: Run, epochs_done: int, steps_per_epoch: int) -> None:
        """A training begins, or carries on after `epochs_done` epochs."""
        name = f"{run.method}, depth {len(run.widths) + 1}, lr {run.lr:g}, seed {run.seed}"
        self._start(name, run.epochs * steps_per_epoch, epochs_done * steps_per_epoch)

    def stepped(self) -> None:
        """One step of it is done."""
        self._progress.advance(self._current)

    def epoch_finished(self, epoch: Epoch) -> None:
        """Show where the training stands."""
        note = f"epoch {epoch.epoch}: loss {epoch.train_loss:.3f}, test {epoch.test_accuracy:.1f} %"
        self._progress.update(self._current, note=note)

    def run_finished(self, result: Result) -> None:
        """The training is done."""
        self._advance(1)
        name = f"{result.method}, depth {len(result.layers)}, lr {result.lr:g}, seed {result.seed}"
        self._line(f"trained {name}: test {result.test_accuracy:.2f} %, train loss {result.train_loss:.4f}")

    def search_started(self, name: str, strategies: int) -> None:
        """A search that was not made before begins."""
        self._start(name, strategies, 0)

    def strategy_finished(self, name: str, ratio: float) -> None:
        """One strategy of it is done: the bound is so many times what was found until now."""
        self._progress.update(self._current, advance=1, note=f"{name}: bound {ratio:.4g} times the largest stretch")

    def searched(self, name: str, summary: str) -> None:
        """The outcome of a search, new or from before."""
        self._advance(1)
        self._line(f"measured {name}: {summary}")

    def _start(self, name: str, total: int, completed: int) -> None:
        self._progress.reset(self._current, description=name, total=total, completed=completed, visible=True, note="")

    def _advance(self, items: int) -> None:
        self._done += items
        self._progress.advance(self._all, items)

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(f"[{self._done}/{self._total}] {text}", markup=False, highlight=False, soft_wrap=True)
