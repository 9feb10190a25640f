"""How the study of flatness shows that it is under way."""

from modular_manifolds.experiments.study_display import StudyDisplay


class FlatnessDisplay(StudyDisplay):
    """As of any study, with the second derivative found so far in place of the loss."""

    label = "all networks"

    def stepped(self, loss: float) -> None:
        """One product with the Hessian is done."""
        self._progress.update(self._current, advance=1, note=f"second derivative {loss:.4g}")
