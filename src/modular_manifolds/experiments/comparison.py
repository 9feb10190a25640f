"""The comparison: every method at every learning rate and seed, each run found again or trained."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch.distributed import ProcessGroup

from modular_manifolds.experiments.crew import Crew
from modular_manifolds.experiments.data import DataName, Dataset
from modular_manifolds.experiments.display import Display
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.methods import Method, method_of
from modular_manifolds.experiments.network import weight_shapes
from modular_manifolds.experiments.results import Result
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.store import RunStore
from modular_manifolds.experiments.tensorboard import TensorBoardLog
from modular_manifolds.experiments.training import Training


@dataclass(frozen=True)
class Comparison:
    """What to compare, and where to write it. `lrs` None stands for every method's own grid.

    `nproc` processes train every run together, each with `threads` threads.
    """

    data: DataName
    data_dir: Path | None
    methods: tuple[str, ...]
    lrs: tuple[float, ...] | None
    seeds: int
    epochs: int
    batch_size: int
    momentum: float
    widths: tuple[int, ...]
    threads: int
    out: Path
    nproc: int = field(default=1, kw_only=True)

    def runs(self, data: Dataset) -> list[Run]:
        """The grid. Seeds are outermost: a comparison cut short has seen every method."""
        shapes = weight_shapes(data.features, self.widths, data.classes)
        return [
            Run(
                method=name,
                optimizer=self.table[name].settings(shapes, self.momentum),
                lr=lr,
                momentum=self.table[name].momentum(self.momentum),
                seed=seed,
                data=data.name,
                data_fingerprint=data.fingerprint,
                widths=self.widths,
                epochs=self.epochs,
                batch_size=self.batch_size,
                threads=self.threads,
                versions=versions(),
                nproc=self.nproc,
            )
            for seed in range(self.seeds)
            for name in self.methods
            for lr in self.lrs or self.table[name].lrs
        ]

    @property
    def table(self) -> Mapping[str, Method]:
        """What the names of the methods stand for."""
        return {name: method_of(name) for name in self.methods}

    def training(self, run: Run, data: Dataset, group: ProcessGroup | None = None) -> Training:
        """A run of the grid, at its start; of several processes, this one's part in it."""
        return Training(run, data, group=group)

    @property
    def results_path(self) -> Path:
        """The list of finished runs."""
        return self.out / "results.json"

    def command(self) -> str:
        """The command line that repeats this comparison."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "methods": ",".join(self.methods),
            "lrs": ",".join(map(str, self.lrs)) if self.lrs else None,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "momentum": self.momentum,
            "widths": ",".join(map(str, self.widths)),
            "threads": self.threads,
            "nproc": self.nproc if self.nproc > 1 else None,
            "out": self.out,
        }
        return command_line("compare", options)


def command_line(command: str, options: Mapping[str, object]) -> str:
    """`modular-manifolds command` with the options that are not None."""
    given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    return " ".join(["modular-manifolds", command, *given])


@dataclass(frozen=True)
class Finished:
    """The finished runs of a comparison with their outcomes, and where they are kept."""

    comparison: Comparison
    data: Dataset
    store: RunStore
    results: dict[Run, Result]


def versions() -> str:
    """The software that a run's numbers depend on."""
    return f"modular-manifolds {version('modular-manifolds')}, torch {torch.__version__}"


def train_all(comparison: Comparison, data: Dataset, display: Display) -> Finished:
    """Finish every run of the grid, reading those that were finished before; keep results.json up to date.

    Raises:
        CrewError: one of several processes has failed or died.
    """
    store = RunStore(comparison.out / "runs")
    runs = comparison.runs(data)
    results = {run: result for run in runs if (result := store.result(run)) is not None}
    _write_results(comparison.results_path, runs, results)
    display.begin(len(runs), list(results.values()))
    missing = [run for run in runs if run not in results]
    with (
        torch_threads(comparison.threads),
        Crew(comparison.nproc if missing else 1, comparison.threads, data, comparison.training) as crew,
    ):
        for run in missing:
            training = crew.begin(run, store.checkpoint(run))
            results[run] = _train(training, run, store, comparison.out / "tensorboard" / run.key, display)
            _write_results(comparison.results_path, runs, results)
    return Finished(comparison, data, store, {run: results[run] for run in runs})


def _train(training: Training, run: Run, store: RunStore, log_folder: Path, display: Display) -> Result:
    display.run_started(run, training.epochs_done, training.steps_per_epoch)
    with TensorBoardLog(log_folder, training.curve) as log:
        while not training.finished:
            epoch = training.run_epoch(display.stepped)
            store.save_checkpoint(run, training.state_dict())
            log.add(epoch)
            display.epoch_finished(epoch)
    result = training.result()
    store.finish(run, result, training.tensors())
    display.run_finished(result)
    return result


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many CPU threads inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_results(path: Path, runs: list[Run], results: dict[Run, Result]) -> None:
    rows = [results[run].to_json() for run in runs if run in results]
    write_atomically(path, json.dumps(rows, indent=1).encode())
