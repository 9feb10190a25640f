"""What a study found: the outcomes of every geometry on every layer, and how much of them is noise."""

import math
from dataclasses import dataclass
from statistics import fmean

import torch

from modular_manifolds.experiments.summary import Spread
from modular_manifolds.experiments.trial import Choice, Outcome

ALL = "all layers"

Layer = int | str
"""Where a geometry is tried: on one layer, from 0, the others having the reference; or on `ALL`."""


@dataclass(frozen=True)
class Cell:
    """One geometry on one layer, or on all: what every layer had, and an outcome a seed."""

    choices: tuple[Choice, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def held_out_accuracy(self) -> float:
        """Mean over the seeds, in percent; choices go by it."""
        return fmean(outcome.held_out_accuracy for outcome in self.outcomes)

    @property
    def test_accuracy(self) -> Spread:
        """Over the seeds, in percent."""
        return Spread.of(outcome.test_accuracy for outcome in self.outcomes)


@dataclass(frozen=True)
class Findings:
    """The cells by layer and candidate, the best of each layer together, and the reference on every layer."""

    candidates: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    cells: dict[tuple[Layer, str], Cell]
    together: Cell
    reference: Cell

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The columns of the tables."""
        return (*range(len(self.shapes)), ALL)

    def heading(self, layer: Layer) -> str:
        """Of a column."""
        if isinstance(layer, str):
            return layer
        m, n = self.shapes[layer]
        return f"layer {layer + 1} ({m} x {n})"

    def noise(self, layer: Layer) -> float:
        """Two cells of this column whose mean test accuracies differ by less may be equal: twice the standard error.

        From what is left of the column's test accuracies without the mean of each cell and of each seed, as all cells
        of one seed start alike and see the same batches. Without cells that diverged; nan for a single seed or cell.
        """
        cells = [self.cells[layer, name] for name in self.candidates]
        accuracy = torch.tensor([[outcome.test_accuracy for outcome in cell.outcomes] for cell in cells]).double()
        accuracy = accuracy[accuracy.isfinite().all(1)]
        rest = accuracy - accuracy.mean(1, keepdim=True) - accuracy.mean(0) + accuracy.mean()
        rows, seeds = accuracy.shape
        freedom = (rows - 1) * (seeds - 1)
        return 2 * math.sqrt(2 / seeds * float(rest.square().sum()) / freedom) if freedom > 0 else math.nan
