"""How a comparison shows that it is under way: live on a terminal, one line a run elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from modular_manifolds.experiments.results import Epoch, Result
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.summary import best_by_method
from modular_manifolds.experiments.two_bars import TwoBars


class Display(Protocol):
    """What a comparison tells while it works."""

    def begin(self, runs: int, finished: Sequence[Result]) -> None:
        """The size of the grid, and the runs of it that were finished before."""

    def run_started(self, run: Run, epochs_done: int, steps_per_epoch: int) -> None:
        """A run begins, or carries on after `epochs_done` epochs."""

    def stepped(self) -> None:
        """One optimizer step of the current run is done."""

    def epoch_finished(self, epoch: Epoch) -> None:
        """One epoch of the current run is done."""

    def run_finished(self, result: Result) -> None:
        """The current run is done."""


class PlainDisplay:
    """One line a run, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runs = 0
        self._finished = 0

    def begin(self, runs: int, finished: Sequence[Result]) -> None:
        """Say how many runs there are."""
        self._runs, self._finished = runs, len(finished)
        self._console.print(_opening(runs, len(finished)))

    def run_started(self, run: Run, epochs_done: int, steps_per_epoch: int) -> None:
        """Say so only of a run that carries on."""
        if epochs_done:
            self._console.print(f"{run.method} lr {run.lr:g} seed {run.seed}: carrying on after epoch {epochs_done}")

    def stepped(self) -> None:
        """Nothing: a log wants no line a step."""

    def epoch_finished(self, epoch: Epoch) -> None:
        """Nothing: a log wants no line an epoch."""

    def run_finished(self, result: Result) -> None:
        """The run's outcome."""
        self._finished += 1
        self._console.print(
            f"[{self._finished}/{self._runs}] {result.method} lr {result.lr:g} seed {result.seed}: "
            f"test {result.test_accuracy:.2f} %, train loss {result.train_loss:.4f}, {result.seconds:.1f} s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class LiveDisplay(TwoBars):
    """Two progress bars, and above them a table of the best learning rate of every method so far."""

    label = "all runs"

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._results: list[Result] = []
        self._live = Live(self._progress, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, runs: int, finished: Sequence[Result]) -> None:
        """Set the outer bar."""
        self._console.print(_opening(runs, len(finished)))
        self._results.extend(finished)
        self._progress.update(self._all, total=runs, completed=len(finished))
        self._show()

    def run_started(self, run: Run, epochs_done: int, steps_per_epoch: int) -> None:
        """Start the inner bar, at the step where the run carries on."""
        self._progress.reset(
            self._current,
            description=f"{run.method}  lr {run.lr:g}  seed {run.seed}",
            total=run.epochs * steps_per_epoch,
            completed=epochs_done * steps_per_epoch,
            visible=True,
            note="",
        )

    def stepped(self) -> None:
        """Advance the inner bar."""
        self._progress.advance(self._current)

    def epoch_finished(self, epoch: Epoch) -> None:
        """Show where the run stands."""
        note = f"epoch {epoch.epoch}: loss {epoch.train_loss:.3f}, test {epoch.test_accuracy:.1f} %"
        self._progress.update(self._current, note=note)

    def run_finished(self, result: Result) -> None:
        """Advance the outer bar and renew the table."""
        self._results.append(result)
        self._progress.advance(self._all)
        self._show()

    def _show(self) -> None:
        self._live.update(Group(best_table(self._results), self._progress) if self._results else self._progress)


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """The live display on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        with LiveDisplay(console) as live:
            yield live
    else:
        yield PlainDisplay(console)


def best_table(results: Sequence[Result]) -> Table:
    """The best learning rate of every method, as the terminal shows it."""
    table = Table(title="best learning rate of each method (by mean test accuracy)")
    table.add_column("method")
    for heading in (
        "lr",
        "seeds",
        "test accuracy",
        "ms/step",
        "max |σ-1|",
    ):
        table.add_column(heading, justify="right")
    for method, group in best_by_method(results).items():
        table.add_row(
            method,
            f"{group.lr:g}",
            str(len(group.results)),
            f"{group.test_accuracy.text(2)} %",
            f"{group.step_milliseconds:.2f}",
            f"{group.violation:.2g}",
        )
    return table


def _opening(runs: int, finished: int) -> str:
    return f"{runs} runs" + (f", {finished} of them finished before" if finished else "")
