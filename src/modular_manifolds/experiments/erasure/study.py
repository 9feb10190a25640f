"""The study behind `modular-manifolds erasure`: what to train, and training what is not there yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from modular_manifolds.experiments.comparison import command_line, torch_threads, versions
from modular_manifolds.experiments.data import DataName, Dataset
from modular_manifolds.experiments.erasure import ranks, trial
from modular_manifolds.experiments.erasure.picture import ink
from modular_manifolds.experiments.erasure.ranks import Ranks, Start
from modular_manifolds.experiments.erasure.setting import Setting, images
from modular_manifolds.experiments.erasure.trial import Outcome, Trial, build, train
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.trial_store import TrialStore


@dataclass(frozen=True)
class Defaults:
    """What suits a data set; the published sizes are width 1024, 1001 steps and batches of 1024."""

    width: int
    batch_size: int
    rank_widths: tuple[int, ...]


DEFAULTS: Mapping[DataName, Defaults] = {
    DataName.DIGITS: Defaults(width=128, batch_size=256, rank_widths=(32, 64, 128, 256, 512)),
    DataName.CIFAR10: Defaults(width=256, batch_size=512, rank_widths=(32, 64, 128, 256, 512, 1024)),
}


@dataclass(frozen=True)
class Erasure:
    """Every method at every learning rate and seed, in every setting; and ranks at every width."""

    data: DataName
    data_dir: Path | None
    methods: tuple[str, ...]
    settings: tuple[Setting, ...]
    lrs: tuple[float, ...]
    seeds: int
    width: int
    steps: int
    batch_size: int
    rank_widths: tuple[int, ...]
    letters: str
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Every trial with its outcome."""
        return self.out / "results.json"

    @property
    def ranks_path(self) -> Path:
        """Every untrained network with its ranks."""
        return self.out / "ranks.json"

    @property
    def where(self) -> Bool[Tensor, "width width"]:
        """The ink of the picture."""
        return ink(self.letters, self.width)

    def trials(self) -> Iterator[Trial]:
        """Seeds outermost: a study cut short has seen every method."""
        for seed in range(self.seeds):
            for setting in self.settings:
                for method in self.methods:
                    for lr in self.lrs:
                        yield Trial(setting, method, lr, seed)

    def starts(self) -> Iterator[Start]:
        """What ranks are measured of."""
        for setting in self.settings:
            for width in self.rank_widths:
                for seed in range(self.seeds):
                    yield Start(setting, width, seed)

    def fixed(self, data: Dataset) -> dict[str, Any]:
        """Everything but the trial itself that an outcome depends on."""
        return {
            "data": str(data.name),
            "data_fingerprint": data.fingerprint,
            "width": self.width,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "letters": self.letters,
            "threads": self.threads,
            "versions": versions(),
        }

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "methods": ",".join(self.methods),
            "lrs": ",".join(f"{lr:g}" for lr in self.lrs),
            "seeds": self.seeds,
            "width": self.width,
            "steps": self.steps,
            "batch-size": self.batch_size,
            "rank-widths": ",".join(map(str, self.rank_widths)),
            "letters": self.letters,
            "threads": self.threads,
            "out": self.out,
        }
        flag = " --as-published" if Setting.PUBLISHED in self.settings else ""
        return command_line("erasure", options) + flag


@dataclass(frozen=True)
class Finished:
    """What a study found."""

    erasure: Erasure
    data: Dataset
    outcomes: dict[Trial, Outcome]
    ranks: dict[Start, Ranks]


def run_erasure(erasure: Erasure, data: Dataset, display: StudyDisplay) -> Finished:
    """Train what is not yet in results.json and measure what is not in ranks.json; both are kept up to date.

    Raises:
        DataError: one of them is damaged, or of another study.
    """
    fixed = erasure.fixed(data)
    store = TrialStore(erasure.results_path, fixed, trial.read_row, trial.write_row)
    widths = TrialStore(
        erasure.ranks_path,
        {name: fixed[name] for name in ("data", "data_fingerprint", "batch_size", "threads", "versions")},
        ranks.read_row,
        ranks.write_row,
    )
    trials, starts = list(erasure.trials()), list(erasure.starts())
    seen = lru_cache(maxsize=1)(partial(images, data))  # images of one setting at a time: CIFAR-10's are 0.7 GB
    display.begin(len(trials) + len(starts))
    where = erasure.where
    with torch_threads(erasure.threads):
        for start in starts:
            if start not in widths:
                display.started(str(start), 1)
                widths[start] = ranks.measure(
                    start, seen(start.setting), data.features, data.classes, erasure.batch_size
                )
            shown = ", ".join(f"{name} {rank:.3g}" for name, rank in widths[start].items())
            display.finished(str(start), f"stable ranks {shown}")
        for each in trials:
            if each not in store:
                display.started(str(each), erasure.steps)
                model = build(data.features, erasure.width, data.classes, each.seed, where)
                store[each] = train(
                    each, seen(each.setting), model, where, erasure.steps, erasure.batch_size, display.stepped
                )
            display.finished(str(each), store[each].summary)
    return Finished(erasure, data, {each: store[each] for each in trials}, {start: widths[start] for start in starts})
