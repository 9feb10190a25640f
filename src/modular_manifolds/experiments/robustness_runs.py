"""The runs whose robustness is measured: of every method the best learning rate, with all seeds."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from modular_manifolds.experiments.results import Result
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.store import RunStore
from modular_manifolds.experiments.summary import best_by_method


class RunsError(ValueError):
    """A folder does not hold the finished runs of one comparison; the message says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished run and what it trained."""

    run: Run
    result: Result
    weights: dict[str, Tensor]


def best_runs(folders: Sequence[Path]) -> list[Trained]:
    """From what `compare` wrote into `folders`: each method's runs at its learning rate of highest test accuracy.

    Methods are in the order of the folders and their results, seeds ascending.

    Raises:
        RunsError: a folder was not written by `compare`, a run of it is missing, damaged or diverged, or the runs are
            not of one data set, network and length of training.
    """
    found = dict(entry for folder in folders for entry in _finished(folder))
    settings = {(run.data, run.data_fingerprint, run.widths, run.epochs, run.batch_size) for run in found}
    if len(settings) > 1:
        shown = "; ".join(
            f"{data} ({pixels}), widths {','.join(map(str, widths))}, {epochs} epochs, batches of {batch}"
            for data, pixels, widths, epochs, batch in sorted(settings)
        )
        raise RunsError(f"the runs cannot be compared, their settings differ: {shown}. Name folders with equal ones.")
    names = Counter(_name(run.method, run.lr, run.seed) for run in found)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise RunsError(f"{', '.join(twice)}: in several versions. Name folders that hold one of each.")
    best = best_by_method(result for result, _ in found.values())
    chosen = [(run, *found[run]) for run in found if run.lr == best[run.method].lr]
    methods = list(best)
    chosen.sort(key=lambda entry: (methods.index(entry[0].method), entry[0].seed))
    return [_trained(run, result, store) for run, result, store in chosen]


def _finished(folder: Path) -> Iterator[tuple[Run, tuple[Result, RunStore]]]:
    """The runs that results.json lists, with their outcomes and where they are kept."""
    path = folder / "results.json"
    try:
        rows = json.loads(path.read_bytes())
        # rows from before there was a choice say nothing of processes
        wanted = {_name(row["method"], row["lr"], row["seed"]): {"nproc": 1, **row} for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunsError(f"{path} is no list of finished runs ({error}). Name a folder that compare wrote.") from error
    if not wanted:
        raise RunsError(f"{path} lists no finished runs. Let compare finish one, or name another folder.")
    store = RunStore(folder / "runs")
    kept = {}
    for run in _kept(folder / "runs"):
        result, name = store.result(run), _name(run.method, run.lr, run.seed)
        if result is not None and result.to_json() == wanted.get(name):
            kept[name] = run, (result, store)
    missing = [name for name in wanted if name not in kept]
    if missing:
        raise RunsError(
            f"{folder / 'runs'}: {', '.join(missing)} of results.json are missing or damaged. "
            "The command that made the folder restores them."
        )
    yield from (kept[name] for name in wanted)


def _name(method: str, lr: float, seed: int) -> str:
    return f"{method} lr {lr:g} seed {seed}"


def _kept(folder: Path) -> Iterator[Run]:
    for path in sorted(folder.glob("*/metrics.json")):
        try:
            settings = json.loads(path.read_bytes())["settings"]
            yield Run(**{**settings, "widths": tuple(settings["widths"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no finished run: if results.json lists it, its absence is reported


def _trained(run: Run, result: Result, store: RunStore) -> Trained:
    weights = store.weights(run)
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise RunsError(f"{store.weights_path(run)} has weights that are not finite: the run diverged.")
    return Trained(run, result, weights)
