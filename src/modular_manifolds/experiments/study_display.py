"""How a study shows that it is under way: bars with the loss on a terminal, one line a trial elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class StudyDisplay:
    """Two progress bars, for all trials and for the steps of the current one, whose loss stands beside it."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._console = console
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._all = self._progress.add_task("all trials", total=None, note="")
        self._current = self._progress.add_task("", total=None, visible=False, note="")
        self._total = self._finished = 0

    def __enter__(self) -> "StudyDisplay":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, trials: int) -> None:
        """How many outcomes there will be."""
        self.expect(trials)
        if not self._console.is_terminal:
            self._console.print(f"{trials} trials")

    def expect(self, trials: int) -> None:
        """How many there will be, after all."""
        self._total = trials
        self._progress.update(self._all, total=trials)

    def started(self, what: str, steps: int) -> None:
        """A trial that is not finished yet begins."""
        self._progress.reset(self._current, description=what, total=steps, visible=True, note="")

    def stepped(self, loss: float) -> None:
        """One step of it is done."""
        self._progress.update(self._current, advance=1, note=f"loss {loss:.3f}")

    def finished(self, what: str, outcome: str) -> None:
        """An outcome is there, new or from before; what it is, in a line."""
        self._finished += 1
        self.expect(max(self._total, self._finished))
        self._progress.advance(self._all)
        if not self._console.is_terminal:
            self._console.print(
                f"[{self._finished}/{self._total}] {what}: {outcome}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
