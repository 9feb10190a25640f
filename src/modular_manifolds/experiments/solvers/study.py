"""The study behind `modular-manifolds solvers`: what to train, and training what is not there yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modular_manifolds.experiments.comparison import command_line, torch_threads, versions
from modular_manifolds.experiments.data import DataName, Dataset
from modular_manifolds.experiments.network import weight_shapes
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.solvers.graded import LOOKS
from modular_manifolds.experiments.solvers.ladder import LADDER, REFERENCE
from modular_manifolds.experiments.solvers.trial import Outcome, Trial, read_row, train, write_row
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.trial_store import TrialStore


@dataclass(frozen=True)
class SolverStudy:
    """Every solver at every learning rate and seed; the slow ones with `slow_seeds` of the seeds."""

    data: DataName
    data_dir: Path | None
    solvers: tuple[str, ...]
    lrs: tuple[float, ...]
    seeds: int
    slow_seeds: int
    epochs: int
    batch_size: int
    widths: tuple[int, ...]
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every trial with its outcome."""
        return self.out / "results.json"

    def trials(self) -> list[Trial]:
        """Seeds outermost: a study cut short has seen every solver."""
        return [
            Trial(solver, lr, seed)
            for seed in range(self.seeds)
            for solver in self.solvers
            if seed < self.slow_seeds or not LADDER[solver].slow
            for lr in self.lrs
        ]

    def settings(self, data: Dataset) -> dict[str, Any]:
        """Everything but the trial itself that an outcome depends on."""
        shapes = weight_shapes(data.features, self.widths, data.classes)
        return {
            "data": str(data.name),
            "data_fingerprint": data.fingerprint,
            "layers": [list(shape) for shape in shapes],
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "looks": LOOKS,
            "threads": self.threads,
            "versions": versions(),
            "solvers": {name: rung.method.settings(shapes, 0.0) for name, rung in LADDER.items()},
        }

    def run(self, trial: Trial, data: Dataset) -> Run:
        """The trial with all settings, for a `Training`."""
        shapes = weight_shapes(data.features, self.widths, data.classes)
        return Run(
            method=trial.solver,
            optimizer=LADDER[trial.solver].method.settings(shapes, 0.0),
            lr=trial.lr,
            momentum=0.0,
            seed=trial.seed,
            data=data.name,
            data_fingerprint=data.fingerprint,
            widths=self.widths,
            epochs=self.epochs,
            batch_size=self.batch_size,
            threads=self.threads,
            versions=versions(),
        )

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "solvers": None if self.solvers == tuple(LADDER) else ",".join(self.solvers),
            "lrs": ",".join(f"{lr:g}" for lr in self.lrs),
            "seeds": self.seeds,
            "slow-seeds": None if self.slow_seeds == self.seeds else self.slow_seeds,
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "widths": ",".join(map(str, self.widths)),
            "threads": self.threads,
            "out": self.out,
        }
        return command_line("solvers", options)


def run_solvers(study: SolverStudy, data: Dataset, display: StudyDisplay) -> dict[Trial, Outcome]:
    """Train what is not yet in results.json, which is kept up to date; every outcome that was asked for.

    Raises:
        DataError: results.json is damaged, or of another study.
    """
    assert REFERENCE in study.solvers
    store = TrialStore(study.results_path, study.settings(data), read_row, write_row)
    trials = study.trials()
    display.begin(len(trials))
    steps = study.epochs * -(-len(data.train) // study.batch_size)
    with torch_threads(study.threads):
        for trial in trials:
            if trial not in store:
                display.started(str(trial), steps)
                store[trial] = train(trial, study.run(trial, data), data, display.stepped)
            display.finished(str(trial), store[trial].summary)
    return {trial: store[trial] for trial in trials}
