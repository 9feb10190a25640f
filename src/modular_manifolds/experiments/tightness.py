"""The study behind `modular-manifolds tightness`: a proved bound against the largest stretch found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modular_manifolds.experiments.comparison import Comparison, command_line, torch_threads, train_all, versions
from modular_manifolds.experiments.data import DataName, Dataset
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.robustness_runs import Trained, best_runs
from modular_manifolds.experiments.tightness_display import TightnessDisplay
from modular_manifolds.experiments.tightness_networks import Specimen, build, families, trained_name
from modular_manifolds.experiments.tightness_search import STRATEGIES, Effort, largest_stretch
from modular_manifolds.experiments.training import evaluate
from modular_manifolds.experiments.trial_store import TrialStore
from modular_manifolds.modular import certify

METHODS_COMPARED = ("manifold-muon", "adamw")
EPOCHS: Mapping[DataName, int] = {DataName.DIGITS: 30, DataName.CIFAR10: 10}
"""Deep networks need more of them than those of `compare`."""

ROUNDING = 1e-9
"""Relative; by so much may a measured stretch exceed the bound."""

_SAMPLES = 2000
"""Training images from which a search starts, at most."""


@dataclass(frozen=True)
class Tightness:
    """What to train and to measure, and where to write it. `lrs` None stands for every method's own grid."""

    data: DataName
    data_dir: Path | None
    methods: tuple[str, ...]
    depths: tuple[int, ...]
    width: int
    lrs: tuple[float, ...] | None
    seeds: int
    epochs: int
    batch_size: int
    effort: float
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every network with what was measured of it."""
        return self.out / "results.json"

    @property
    def items(self) -> int:
        """Networks to train, and networks to measure."""
        trained = sum(len(self.lrs or METHODS[method].lrs) for method in self.methods)
        return sum(self.seeds * (trained + len(families(self.methods, depth))) for depth in self.depths)

    def comparison(self, depth: int) -> Comparison:
        """What is trained at a depth, without momentum on a manifold."""
        return Comparison(
            data=self.data,
            data_dir=self.data_dir,
            methods=self.methods,
            lrs=self.lrs,
            seeds=self.seeds,
            epochs=self.epochs,
            batch_size=self.batch_size,
            momentum=0.0,
            widths=(self.width,) * (depth - 1),
            threads=self.threads,
            out=self.out / f"depth-{depth}",
        )

    def settings(self, data: Dataset) -> dict[str, Any]:
        """Everything but the network itself that its measurement depends on."""
        return {
            "data": str(data.name),
            "data_fingerprint": data.fingerprint,
            "width": self.width,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "effort": asdict(Effort().times(self.effort)),
            "samples": _SAMPLES,
            "versions": versions(),
        }

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "methods": ",".join(self.methods),
            "depths": ",".join(map(str, self.depths)),
            "width": self.width,
            "lrs": ",".join(map(str, self.lrs)) if self.lrs else None,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "effort": self.effort,
            "threads": self.threads,
            "out": self.out,
        }
        return command_line("tightness", options)


@dataclass(frozen=True)
class Measured:
    """Of one network, in l2, over all inputs: `bound` is proved, `stretch` the largest that was found.

    `after` is the largest stretch after every strategy of the search; `exceeding`, of all `measurements`, those above
    the bound, which a right bound rules out. Accuracies in percent.
    """

    bound: float
    stretch: float
    after: dict[str, float]
    measurements: int
    exceeding: int
    test_accuracy: float
    train_accuracy: float

    @property
    def ratio(self) -> float:
        """How much larger the bound is than what was found."""
        return self.bound / self.stretch if self.stretch else inf

    @property
    def summary(self) -> str:
        """In a line."""
        numbers = f"bound {self.bound:.4g}, found {self.stretch:.4g}, ratio {self.ratio:.4g}"
        return f"{numbers}, test {self.test_accuracy:.2f} %"


Findings = Mapping[Specimen, Measured]


def read_row(row: Mapping[str, Any]) -> tuple[Specimen, Measured]:
    """Of results.json."""
    measured = dict(row["measured"])
    if measured["bound"] is None:  # larger than any number that JSON has
        measured["bound"] = inf
    del measured["ratio"]
    return Specimen(**{name: row[name] for name in ("family", "depth", "seed", "lr")}), Measured(**measured)


def write_row(specimen: Specimen, measured: Measured) -> dict[str, Any]:
    """The row of results.json: plain JSON values only."""
    row: dict[str, Any] = plain({**asdict(specimen), "measured": {**asdict(measured), "ratio": measured.ratio}})
    return row


def run_tightness(study: Tightness, data: Dataset, display: TightnessDisplay) -> Findings:
    """Train and measure what is not yet done; results.json is kept up to date.

    Raises:
        DataError: results.json is damaged, or of another study.
        RunsError: every learning rate of a method diverged.
    """
    store = TrialStore(study.results_path, study.settings(data), read_row, write_row)
    display.expect(study.items)
    findings: dict[Specimen, Measured] = {}
    for depth in study.depths:
        comparison = study.comparison(depth)
        train_all(comparison, data, display)
        trained = {(run.run.method, run.run.seed): run for run in best_runs([comparison.out])}
        for seed in range(study.seeds):
            for specimen, run in _specimens(study, depth, seed, trained).items():
                if specimen not in store:
                    network = build(specimen, data, study.width, run)
                    display.search_started(specimen.name, len(STRATEGIES))
                    with torch_threads(study.threads):
                        store[specimen] = measure(network, data, specimen.seed, study.effort, display)
                findings[specimen] = store[specimen]
                display.searched(specimen.name, findings[specimen].summary)
    return findings


def measure(network: nn.Module, data: Dataset, seed: int, effort: float, display: TightnessDisplay) -> Measured:
    """Prove a bound of a float64 network, and search for the largest stretch."""
    samples = data.train.inputs[:_SAMPLES].double()
    bound = certify(network, (samples[:1],)).lipschitz

    def on_strategy(name: str, stretch: float) -> None:
        display.strategy_finished(name, bound / stretch if stretch else inf)

    found = largest_stretch(
        network,
        samples,
        torch.Generator().manual_seed(seed),
        Effort().times(effort),
        bound * (1 + ROUNDING),
        on_strategy,
    )
    _, test_accuracy = evaluate(lambda x: network(x.double()), data.test)
    _, train_accuracy = evaluate(lambda x: network(x.double()), data.train)
    return Measured(
        bound, found.stretch, found.after, found.measurements, found.exceeding, test_accuracy, train_accuracy
    )


def _specimens(
    study: Tightness, depth: int, seed: int, trained: Mapping[tuple[str, int], Trained]
) -> dict[Specimen, Trained | None]:
    """Of one depth and seed, with the run of each that was trained."""
    runs = {trained_name(method): trained[method, seed] for method in study.methods}
    specimens: dict[Specimen, Trained | None] = {}
    for family in families(study.methods, depth):
        run = runs.get(family)
        specimens[Specimen(family, depth, seed, run.run.lr if run else None)] = run
    return specimens
