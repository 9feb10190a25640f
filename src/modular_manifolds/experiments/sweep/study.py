"""The study behind `modular-manifolds sweep`: every learning rate, method, seed and format of the weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import log
from pathlib import Path
from typing import Any

from modular_manifolds.experiments.comparison import command_line, torch_threads, versions
from modular_manifolds.experiments.data import DataName, Dataset, load
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.sweep.findings import ACCURACY, LOSS, REFERENCE, Curve, Findings
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.image_course import ImageCourse
from modular_manifolds.experiments.sweep.text_course import TextCourse
from modular_manifolds.experiments.sweep.trial import Outcome, Trial, read_row, row
from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.text import Text, load_text
from modular_manifolds.experiments.trial_store import TrialStore
from modular_manifolds.experiments.workers import Workers

Data = Dataset | Text


@dataclass(frozen=True)
class Sweep:
    """What to try, and where to write it: methods with their learning rates, AdamW with every weight decay."""

    data: TaskName
    data_dir: Path | None
    file: Path | None
    lrs: Mapping[str, tuple[float, ...]]
    weight_decays: tuple[float, ...]
    weights: tuple[WeightFormat, ...]
    seeds: int
    course: ImageCourse | TextCourse
    threads: int
    workers: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every trial with its outcome."""
        return self.out / "results.json"

    def trials(self, seed: int) -> dict[tuple[str, WeightFormat, float | None], list[Trial]]:
        """Those of a seed, by what their curve is of; learning rates ascending."""
        return {
            (method, weights, decay): [
                Trial(method, self.course.recipe(method), lr, decay, weights, seed) for lr in sorted(lrs)
            ]
            for weights in self.weights
            for method, lrs in self.lrs.items()
            for decay in (self.weight_decays if method == REFERENCE else (None,))
        }

    def settings(self, data: Data) -> dict[str, Any]:
        """Everything but the trial itself that an outcome depends on."""
        return {
            "data": str(self.data),
            "data_fingerprint": data.fingerprint,
            **plain(asdict(self.course)),
            "threads": self.threads,
            "versions": versions(),
        }

    def command(self) -> str:
        """The command line that repeats this."""
        course = self.course
        sizes: dict[str, object] = (
            {
                "layers": course.shape.layers,
                "heads": course.shape.heads,
                "width": course.shape.width,
                "positions": course.shape.positions,
                "steps": course.steps,
            }
            if isinstance(course, TextCourse)
            else {
                "widths": ",".join(map(str, course.widths)),
                "epochs": course.epochs,
                "momentum": course.momentum,
            }
        )
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "file": self.file,
            "methods": ",".join(self.lrs),
            "weight-decays": _listed(self.weight_decays) if REFERENCE in self.lrs else None,
            "weights": ",".join(self.weights),
            "seeds": self.seeds,
            **sizes,
            "batch-size": course.batch_size,
            "warmup": course.warmup,
            "power": course.power,
            "threads": self.threads,
            "workers": self.workers,
            "out": self.out,
        }
        lrs = [f"--lrs {method}={_listed(lrs)}" for method, lrs in self.lrs.items()]
        return " ".join([command_line("sweep", options), *lrs])


def load_data(sweep: Sweep) -> Data:
    """The data that `sweep` names.

    Raises:
        DataError: a file is missing or damaged.
    """
    return load_text(sweep.file) if sweep.data is TaskName.TEXT else load(DataName(sweep.data), sweep.data_dir)


def run_sweep(sweep: Sweep, data: Data, display: StudyDisplay) -> Findings:
    """Train what is not yet in results.json, which is kept up to date. A sweep cut short has seen every method.

    Raises:
        DataError: results.json is damaged, or of another study.
    """
    store = TrialStore(sweep.results_path, sweep.settings(data), read_row, row)
    seeds = [sweep.trials(seed) for seed in range(sweep.seeds)]
    trials = [trial for by_curve in seeds for curve in by_curve.values() for trial in curve]
    course: Any = sweep.course  # that of the data
    train: partial[Outcome] = partial(course.train, data=data)
    display.begin(len(trials))

    def finish(trial: Trial, outcome: Outcome) -> None:
        store[trial] = outcome
        display.finished(trial.label, outcome.summary)

    todo = []
    for trial in trials:
        if trial in store:
            display.finished(trial.label, store[trial].summary)
        else:
            todo.append(trial)
    if sweep.workers == 1 or len(todo) <= 1:
        with torch_threads(sweep.threads):
            for trial in todo:
                display.started(trial.label, course.steps_of(data))
                finish(trial, train(trial, on_step=display.stepped))
    else:
        with Workers[Trial, Outcome](sweep.workers, sweep.threads, train) as workers:
            workers.begin(todo)
            while workers.busy:
                for trial, outcome in workers.finished():
                    finish(trial, outcome)
    measure = LOSS if isinstance(data, Text) else ACCURACY
    curves = []
    for key in seeds[0]:
        by_lr = zip(*(by_curve[key] for by_curve in seeds), strict=True)
        outcomes = {same[0].lr: tuple(store[trial] for trial in same) for same in by_lr}
        curves.append(Curve(*key, measure, outcomes))
    return Findings(measure, log(data.classes), tuple(curves))


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" if float(f"{number:g}") == number else repr(number) for number in numbers)
