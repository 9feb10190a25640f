"""Processes that train every run of a comparison together: this one, which reports, and its mates."""

import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from types import TracebackType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.distributed import ProcessGroup

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.training import Training

Make = Callable[[Run, Dataset, ProcessGroup | None], Training]
"""A run at its start, as a rank of the group sees it."""

_PATIENCE = 5.0
"""Seconds that a mate has to end, where it is to, or where its end would explain why the group has failed."""

_SETTLING = 0.5
"""Seconds after which those that fail because another has died have failed, too."""


class CrewError(RuntimeError):
    """A process beside this one has failed or died; the message says which, how, and what to do."""


class _Failure(NamedTuple):
    """What a mate sends of an error that ends it."""

    secondary: bool
    """Whether it may be no more than an echo of another's."""
    text: str


@dataclass(frozen=True)
class _Mate:
    """A process, and this end of the line to it: runs go there; None comes back when it is ready, or its failure."""

    rank: int
    process: Any
    line: Connection

    def hears(self) -> _Failure | None:
        """The next word from it.

        Raises:
            EOFError, OSError: it has ended without one.
        """
        word: _Failure | None = self.line.recv()
        return word

    @property
    def end(self) -> _Failure:
        """How it ended."""
        with suppress(EOFError, OSError):
            while self.line.poll():
                if (failure := self.hears()) is not None:
                    return failure
        code = self.process.exitcode
        return _Failure(False, f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}")


class Crew:
    """`size` processes over gloo, of which this is the first; the others live as long as the `with` block.

    A crew of one is this process as it is, without a group.

    Args:
        size: how many.
        threads: of torch, in each of the others.
        data: what all runs are trained on; the processes share its memory.
        make: see Make; it is sent to the others.
    """

    def __init__(self, size: int, threads: int, data: Dataset, make: Make) -> None:
        self._size, self._threads, self._data, self._make = size, threads, data, make
        self._mates: list[_Mate] = []
        self._group: ProcessGroup | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Crew":
        if self._size > 1:
            self._folder = TemporaryDirectory(prefix="modular-manifolds-")
            try:
                self._gather(Path(self._folder.name) / "store")
            except BaseException as error:
                self.__exit__(type(error), error, error.__traceback__)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cause = self._cause() if isinstance(error, RuntimeError | EOFError | ConnectionError) else None
        for mate in self._mates:
            mate.line.close()  # which tells it to end
        for mate in self._mates:
            mate.process.join(_PATIENCE if error is None else 0)
            mate.process.kill()
            mate.process.join()
        self._mates.clear()
        if self._group is not None:
            dist.destroy_process_group()
            self._group = None
        if self._folder is not None:
            self._folder.cleanup()
        if cause is not None:
            raise CrewError(f"{cause}\nFinished epochs are kept: the same command carries on.") from error

    def begin(self, run: Run, state: Mapping[str, Any] | None) -> Training:
        """A run at its start, or at `state` if that is given; the others begin it too, and keep up with this one."""
        for mate in self._mates:
            with suppress(OSError):  # it is dead: the first collective call notices, and `__exit__` says so
                # by value: what torch shares with a mate, both would go on to overwrite
                mate.line.send_bytes(pickle.dumps((run, state)))
        return _begun(self._make(run, self._data, self._group), state)

    def _gather(self, store: Path) -> None:
        # torch's own module hands tensors over in shared memory
        context = multiprocessing.get_context("spawn")
        for rank in range(1, self._size):
            line, far_end = context.Pipe()
            given = (rank, self._size, store, self._threads, self._data, self._make, far_end)
            process = context.Process(target=_keep_up, args=given, daemon=True)
            process.start()
            far_end.close()  # what is left is the mate's own, so that the line breaks when it ends
            self._mates.append(_Mate(rank, process, line))
        for mate in self._mates:
            # a group would wait for one that does not come for half an hour
            if mate.hears() is not None:
                raise RuntimeError(f"process {mate.rank} did not start")
        self._group = _join(0, self._size, store)

    def _cause(self) -> str | None:
        """Which of the others the group has failed by, and how; None if all are there."""
        if not wait([mate.process.sentinel for mate in self._mates], _PATIENCE):
            return None
        sleep(_SETTLING)
        ends = [(mate.rank, mate.end) for mate in self._mates if not mate.process.is_alive()]
        rank, failure = min(ends, key=lambda end: end[1].secondary)
        return f"process {rank} of {self._size} (numbered from 0) {failure.text}"


def _begun(training: Training, state: Mapping[str, Any] | None) -> Training:
    if state is not None:
        training.load_state_dict(state)
    return training


def _join(rank: int, size: int, store: Path) -> ProcessGroup:
    dist.init_process_group("gloo", init_method=store.as_uri(), rank=rank, world_size=size)
    group = dist.group.WORLD
    assert group is not None
    return group


def _keep_up(rank: int, size: int, store: Path, threads: int, data: Dataset, make: Make, line: Connection) -> None:
    """What the others do: train every run that they are sent, until the line breaks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears of it, and ends this one
    torch.set_num_threads(threads)
    try:
        line.send(None)
        group = _join(rank, size, store)
        while True:
            try:
                run, state = pickle.loads(line.recv_bytes())
            except EOFError:
                return
            training = _begun(make(run, data, group), state)
            while not training.finished:
                training.run_epoch()
    except Exception as error:
        with suppress(OSError):
            line.send(_Failure(isinstance(error, RuntimeError), f"failed:\n{traceback.format_exc()}"))
        sys.exit(1)
