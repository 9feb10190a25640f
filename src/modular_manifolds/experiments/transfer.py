"""The study behind `modular-manifolds transfer`: how far the best learning rate moves as a network grows."""

from dataclasses import asdict, dataclass
from functools import partial
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

from modular_manifolds.experiments.comparison import command_line, torch_threads, versions
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.task import Task, TaskName
from modular_manifolds.experiments.text import load_text
from modular_manifolds.experiments.transfer_findings import Curve, Family, Findings
from modular_manifolds.experiments.transfer_images import load_images
from modular_manifolds.experiments.transfer_methods import METHODS
from modular_manifolds.experiments.transfer_modular import FINAL_SCALE, SOFTMAX_SCALE
from modular_manifolds.experiments.transfer_search import wanted
from modular_manifolds.experiments.transfer_trial import Course, Outcome, Sweep, Trial, read_row, row, train
from modular_manifolds.experiments.trial_store import TrialStore
from modular_manifolds.experiments.workers import Workers

Key = tuple[Sweep, str]
"""A sweep and a method."""


@dataclass(frozen=True)
class Transfer:
    """What to try, and where to write it.

    Every method trains networks of all `widths`, at the course's depth, and of all `depths`, at the course's width;
    each at learning rates a factor of 2 apart, `reach` or more on both sides of the best one, with each of `seeds`.
    """

    data: TaskName
    data_dir: Path | None
    file: Path | None
    methods: tuple[str, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    course: Course
    reach: int
    seeds: int
    threads: int
    workers: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every trial with its outcome."""
        return self.out / "results.json"

    @property
    def families(self) -> dict[Key, tuple[int, ...]]:
        """The sizes of every sweep and method; a sweep without sizes is left out."""
        sweeps = {Sweep.WIDTH: self.widths, Sweep.DEPTH: self.depths}
        return {(sweep, method): sizes for sweep, sizes in sweeps.items() if sizes for method in self.methods}

    def settings(self, task: Task) -> dict[str, Any]:
        """Everything but the trial itself that an outcome depends on."""
        return {
            "data": str(self.data),
            "data_fingerprint": task.fingerprint,
            **asdict(self.course),
            "final_scale": FINAL_SCALE,
            "softmax_scale": SOFTMAX_SCALE,
            "methods": {name: method.summary for name, method in METHODS.items()},
            "threads": self.threads,
            "versions": versions(),
        }

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "file": self.file,
            "methods": None if self.methods == tuple(METHODS) else ",".join(self.methods),
            "widths": ",".join(map(str, self.widths)) or "none",
            "depths": ",".join(map(str, self.depths)) or "none",
            "width": self.course.width,
            "depth": self.course.depth,
            "steps": self.course.steps,
            "batch-size": self.course.batch_size,
            "reach": self.reach,
            "seeds": self.seeds,
            "threads": self.threads,
            "workers": self.workers,
            "out": self.out,
        }
        return command_line("transfer", options)


def load_task(study: Transfer) -> Task:
    """The data that `study` names.

    Raises:
        DataError: a file is missing or damaged.
    """
    return load_text(study.file) if study.data is TaskName.TEXT else load_images(study.data, study.data_dir)


def run_transfer(study: Transfer, task: Task, display: StudyDisplay) -> Findings:
    """Train what is not yet in results.json, which is kept up to date. Small networks come first.

    Raises:
        DataError: results.json is damaged, or of another study.
    """
    store = TrialStore(study.results_path, study.settings(task), read_row, row)
    search = _Search(study, store)
    display.begin(sum(map(len, study.families.values())) * (2 * study.reach + 1) * study.seeds)

    def finish(trial: Trial, outcome: Outcome) -> None:
        store[trial] = outcome
        display.finished(_what(trial), outcome.summary)

    if study.workers == 1:
        with torch_threads(study.threads):
            while todo := search.todo():
                trial = todo[0]
                display.started(_what(trial), study.course.steps)
                finish(trial, train(trial, task, study.course, display.stepped))
    else:
        with Workers(study.workers, study.threads, partial(train, task=task, course=study.course)) as workers:
            workers.begin(search.todo())
            while workers.busy:
                for trial, outcome in workers.finished():
                    finish(trial, outcome)
                workers.begin(search.todo())
    families = {key: search.family(key) for key in study.families}
    return Findings(f"{study.data}, {study.course.steps} steps", log(task.classes), families)


class _Search:
    """What the trials so far say, and which ones they ask for."""

    def __init__(self, study: Transfer, store: TrialStore[Trial, Outcome]) -> None:
        self._study, self._store = study, store

    def todo(self) -> list[Trial]:
        """What is wanted next of every family, small networks first."""
        trials = []
        for key, sizes in self._study.families.items():
            for size, lr in wanted(sizes, METHODS[key[1]].lr, self._study.reach, partial(self._loss, key)):
                trials += self._trials(key, size, lr)
        return sorted((trial for trial in trials if trial not in self._store), key=lambda trial: trial.size)

    def family(self, key: Key) -> Family:
        """With all learning rates that every seed was trained at, by this search or one before it."""
        return Family({size: self._curve(key, size) for size in self._study.families[key]})

    def _curve(self, key: Key, size: int) -> Curve:
        tried = sorted({trial.lr for trial in self._store if ((trial.sweep, trial.method), trial.size) == (key, size)})
        whole = [lr for lr in tried if self._loss(key, size, lr) is not None]
        return Curve({lr: tuple(self._store[trial] for trial in self._trials(key, size, lr)) for lr in whole})

    def _loss(self, key: Key, size: int, lr: float) -> float | None:
        """Mean over the seeds; None unless all are there."""
        trials = self._trials(key, size, lr)
        if not all(trial in self._store for trial in trials):
            return None
        return fmean(self._store[trial].train_loss for trial in trials)

    def _trials(self, key: Key, size: int, lr: float) -> list[Trial]:
        sweep, method = key
        return [Trial(sweep, size, method, lr, seed) for seed in range(self._study.seeds)]


def _what(trial: Trial) -> str:
    return f"{trial.method}, {trial.sweep} {trial.size}, lr {trial.lr:.3g}, seed {trial.seed}"
