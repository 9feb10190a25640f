"""Some processes that form a group over gloo, and run what a test gives them."""

import os
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from queue import Empty
from signal import SIGKILL
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
"""Seconds that a program may take."""


class Gang:
    """`size` processes; programs are functions of a module, and are called with the arguments of `run`."""

    def __init__(self, size: int, timeout: float = 60.0, patience: float = PATIENCE) -> None:
        self._patience = patience
        context = mp.get_context("spawn")
        self._place = tempfile.mkdtemp()
        self._orders = [context.Queue() for _ in range(size)]
        self._answers = context.Queue()
        before = os.environ.get("PYTHONPATH")
        # programs are imported by the processes as parts of the package `tests`
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
        try:
            self._processes = [
                context.Process(
                    target=_work,
                    args=(rank, size, self._place, timeout, self._orders[rank], self._answers),
                    daemon=True,
                )
                for rank in range(size)
            ]
            for process in self._processes:
                process.start()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    def start(self, program: Callable[..., Any], *args: Any) -> None:
        """Have every process call the program."""
        for orders in self._orders:
            orders.put((program, args))

    def answers(self, count: int | None = None) -> dict[int, Any]:
        """What the programs return, or the text of what they raised, by rank."""
        found: dict[int, Any] = {}
        until = monotonic() + self._patience
        while len(found) < (len(self._processes) if count is None else count):
            try:
                rank, value = self._answers.get(timeout=1.0)
                found[rank] = value
            except Empty:
                dead = [r for r, process in enumerate(self._processes) if process.exitcode not in (None, -SIGKILL)]
                assert not dead, f"processes {dead} have crashed"
                assert monotonic() < until, f"only {sorted(found)} have answered"
        return found

    def run(self, program: Callable[..., Any], *args: Any) -> list[Any]:
        """What the program returns on every rank.

        Raises:
            AssertionError: it has raised something on one.
        """
        self.start(program, *args)
        answers = self.answers()
        failures = [f"rank {rank}:\n{value}" for rank, value in sorted(answers.items()) if isinstance(value, Failure)]
        assert not failures, "\n".join(failures)
        return [answers[rank] for rank in sorted(answers)]

    def kill(self, rank: int) -> None:
        self._processes[rank].kill()
        self._processes[rank].join()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


class Failure(str):
    """A traceback."""


def _work(rank: int, size: int, place: str, timeout: float, orders: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(place, "store"), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout))
    while True:
        program, args = orders.get()
        try:
            answers.put((rank, program(*args)))
        except BaseException:
            answers.put((rank, Failure(traceback.format_exc())))
