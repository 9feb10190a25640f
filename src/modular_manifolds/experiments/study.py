"""The study behind `modular-manifolds geometries`: which manifold and norm suit which layer of a network."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from modular_manifolds.experiments.candidates import CANDIDATES, REFERENCE, REFERENCE_MULTIPLE
from modular_manifolds.experiments.comparison import command_line, torch_threads
from modular_manifolds.experiments.data import DataName, Dataset, Split
from modular_manifolds.experiments.network import weight_shapes
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.study_findings import ALL, Cell, Findings, Layer
from modular_manifolds.experiments.trial import Choice, Outcome, Trial, read_row, row, train
from modular_manifolds.experiments.trial_store import TrialStore

SEARCH_SEED = 0
"""Of the trials that choose learning rates; those that are reported have the seeds from 1."""

HELD_OUT = 10
"""One training image in so many is kept back, for every choice that is made."""

_REFERENCE = Choice(REFERENCE, REFERENCE_MULTIPLE)


@dataclass(frozen=True)
class Study:
    """What to try, and where to write it.

    On every layer in turn, every candidate is trained at its learning rates for `search_epochs`, the other layers
    having the reference. At the rate of highest held-out accuracy it is then trained for `epochs` with each of `seeds`
    other seeds. So is every candidate on all layers at once, at those rates; and at last the network in which each
    layer has the candidate of highest held-out accuracy on it.
    """

    data: DataName
    data_dir: Path | None
    candidates: tuple[str, ...]
    seeds: int
    epochs: int
    search_epochs: int
    batch_size: int
    widths: tuple[int, ...]
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every trial with its outcome."""
        return self.out / "results.json"

    def settings(self, data: Dataset) -> dict[str, Any]:
        """Everything but the trial itself that an outcome depends on."""
        shapes = weight_shapes(data.features, self.widths, data.classes)
        return {
            "data": str(data.name),
            "data_fingerprint": data.fingerprint,
            "train_images": len(data.train),
            "layers": [list(shape) for shape in shapes],
            "batch_size": self.batch_size,
            "threads": self.threads,
            "versions": f"modular-manifolds {version('modular-manifolds')}, torch {torch.__version__}",
            "candidates": {
                name: [
                    {"geometry": repr(candidate.geometry(*shape)), "scale": candidate.scale(*shape)} for shape in shapes
                ]
                for name, candidate in CANDIDATES.items()
            },
        }

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "candidates": None if self.candidates == tuple(CANDIDATES) else ",".join(self.candidates),
            "seeds": self.seeds,
            "epochs": self.epochs,
            "search-epochs": self.search_epochs,
            "batch-size": self.batch_size,
            "widths": ",".join(map(str, self.widths)),
            "threads": self.threads,
            "out": self.out,
        }
        return command_line("geometries", options)


def hold_out(data: Dataset) -> tuple[Dataset, Split]:
    """The data without one training image in ten, the same ones every time, and those."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    kept, held_out = order.tensor_split([-(len(data.train) // HELD_OUT)])

    def part(images: torch.Tensor) -> Split:
        return Split(data.train.inputs[images], data.train.labels[images])

    return replace(data, train=part(kept)), part(held_out)


def run_study(study: Study, data: Dataset, display: StudyDisplay) -> Findings:
    """Train what is not yet in results.json, which is kept up to date.

    Raises:
        DataError: results.json is damaged, or of another study.
    """
    with torch_threads(study.threads):
        bench = _Bench(study, data, display)
        display.begin(bench.trials)
        best = bench.learning_rates()
        rows: dict[tuple[Layer, str], tuple[Choice, ...]] = {
            **{(layer, name): bench.alone(choice, layer) for (layer, name), choice in best.items()},
            **{(ALL, name): tuple(best[layer, name] for layer in bench.layers) for name in study.candidates},
        }
        reference = tuple(_REFERENCE for _ in bench.layers)
        bench.train({"reference": reference, **{_place(*key): choices for key, choices in rows.items()}})
        cells = {key: bench.cell(choices) for key, choices in rows.items()}
        winners = tuple(
            _best([cells[layer, name] for name in study.candidates]).choices[layer] for layer in bench.layers
        )
        bench.train({"best of each layer": winners})
        return Findings(study.candidates, bench.shapes, cells, bench.cell(winners), bench.cell(reference))


class _Bench:
    """Where the trials of a study are trained, unless they were before."""

    def __init__(self, study: Study, data: Dataset, display: StudyDisplay) -> None:
        self._study, self._display = study, display
        self._data, self._held_out = hold_out(data)
        self._store = TrialStore(study.results_path, study.settings(self._data), read_row, row)
        self.shapes = tuple(weight_shapes(data.features, study.widths, data.classes))
        self.layers = range(len(self.shapes))

    @property
    def trials(self) -> int:
        """How many outcomes will be asked for; some are of one and the same trial."""
        study, depth = self._study, len(self.layers)
        searched = depth * sum(len(CANDIDATES[name].multiples) for name in study.candidates)
        return searched + study.seeds * ((depth + 1) * len(study.candidates) + 2)

    def alone(self, choice: Choice, layer: int) -> tuple[Choice, ...]:
        """`choice` on one layer, the reference on the others."""
        return tuple(choice if i == layer else _REFERENCE for i in self.layers)

    def learning_rates(self) -> dict[tuple[int, str], Choice]:
        """Every candidate on every layer at its rate of highest held-out accuracy."""
        best = {}
        for layer in self.layers:
            for name in self._study.candidates:
                accuracy = {}
                for choice in (Choice(name, multiple) for multiple in CANDIDATES[name].multiples):
                    trial = Trial(self.alone(choice, layer), SEARCH_SEED, self._study.search_epochs)
                    outcome = self._outcome(trial, f"{_place(layer, name)}, lr {choice.multiple:g}")
                    accuracy[choice] = outcome.held_out_accuracy
                best[layer, name] = max(accuracy, key=accuracy.__getitem__)
        return best

    def train(self, rows: dict[str, tuple[Choice, ...]]) -> None:
        """Every row with every seed. Seeds are outermost: a study cut short has seen every geometry."""
        for seed in self._seeds:
            for what, choices in rows.items():
                self._outcome(Trial(choices, seed, self._study.epochs), f"{what}, seed {seed}")

    def cell(self, choices: tuple[Choice, ...]) -> Cell:
        """A row that was trained."""
        return Cell(choices, tuple(self._store[Trial(choices, seed, self._study.epochs)] for seed in self._seeds))

    @property
    def _seeds(self) -> range:
        return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + self._study.seeds)

    def _outcome(self, trial: Trial, what: str) -> Outcome:
        study, batches = self._study, -(-len(self._data.train) // self._study.batch_size)
        if trial not in self._store:
            self._display.started(what, trial.epochs * batches)
            self._store[trial] = train(
                trial, self._data, self._held_out, study.widths, study.batch_size, self._display.stepped
            )
        self._display.finished(what, self._store[trial].summary)
        return self._store[trial]


def _best(cells: list[Cell]) -> Cell:
    return max(cells, key=lambda cell: cell.held_out_accuracy)


def _place(layer: Layer, name: str) -> str:
    return f"{layer if isinstance(layer, str) else f'layer {layer + 1}'}: {name}"
