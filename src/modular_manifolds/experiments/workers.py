"""Trials of a study in processes side by side."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from torch import multiprocessing

TrialT = TypeVar("TrialT")
OutcomeT = TypeVar("OutcomeT")

_given: list[Callable[[Any], Any]] = []
"""In a worker: what trains a trial, with the data it needs."""


class Workers(Generic[TrialT, OutcomeT]):
    """So many processes that share the data in `train`, each with `threads` threads of torch.

    `train` is pickled once for every process; tensors in it are handed over in shared memory.
    """

    def __init__(self, count: int, threads: int, train: Callable[[TrialT], OutcomeT]) -> None:
        # torch's own module hands tensors over in shared memory
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, context, _prepare, (train, threads))
        self._running: dict[Future[OutcomeT], TrialT] = {}

    def __enter__(self) -> "Workers[TrialT, OutcomeT]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._running)

    def begin(self, trials: Iterable[TrialT]) -> None:
        """Train these, too, as soon as a worker is free; those that are under way already are left alone."""
        under_way = set(self._running.values())
        for trial in trials:
            if trial not in under_way:
                self._running[self._pool.submit(_train, trial)] = trial

    def finished(self) -> Iterator[tuple[TrialT, OutcomeT]]:
        """Wait for a trial; that, and others that ended meanwhile."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            yield self._running.pop(future), future.result()


def _prepare(train: Callable[[Any], Any], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once and quietly: the first process tells the user
    torch.set_num_threads(threads)
    _given.append(train)


def _train(trial: Any) -> Any:
    return _given[0](trial)
