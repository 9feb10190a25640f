"""How a study shows that it is under way: bars with the loss on a terminal, one line a trial elsewhere."""

from modular_manifolds.experiments.two_bars import TwoBars


class StudyDisplay(TwoBars):
    """Two progress bars, for all trials and for the steps of the current one, whose loss stands beside it."""

    label = "all trials"

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
        self._done += 1
        self.expect(max(self._total, self._done))
        self._progress.advance(self._all)
        if not self._console.is_terminal:
            self._console.print(
                f"[{self._done}/{self._total}] {what}: {outcome}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
