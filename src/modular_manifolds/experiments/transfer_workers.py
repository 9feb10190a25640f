"""Trials of the transfer study in processes side by side."""

import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from types import TracebackType

import torch
from torch import multiprocessing

from modular_manifolds.experiments.transfer_task import Task
from modular_manifolds.experiments.transfer_trial import Course, Outcome, Trial, train

_given: list[tuple[Task, Course]] = []
"""In a worker: what all its trials have in common."""


class Workers:
    """So many processes that share the data, each with `threads` threads of torch."""

    def __init__(self, count: int, task: Task, course: Course, threads: int) -> None:
        # torch's own module hands tensors over in shared memory
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, context, _prepare, (task, course, threads))
        self._running: dict[Future[Outcome], Trial] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._running)

    def begin(self, trials: Iterable[Trial]) -> None:
        """Train these, too, as soon as a worker is free; those that are under way already are left alone."""
        under_way = set(self._running.values())
        for trial in trials:
            if trial not in under_way:
                self._running[self._pool.submit(_train, trial)] = trial

    def finished(self) -> Iterator[tuple[Trial, Outcome]]:
        """Wait for a trial; that, and others that ended meanwhile."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            yield self._running.pop(future), future.result()


def _prepare(task: Task, course: Course, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once and quietly: the first process tells the user
    torch.set_num_threads(threads)
    _given.append((task, course))


def _train(trial: Trial) -> Outcome:
    task, course = _given[0]
    return train(trial, task, course)
