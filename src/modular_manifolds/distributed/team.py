"""The ranks of a mesh as one process group, and collectives that say who failed at what."""

from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

GRACE = 5.0
"""Seconds in which ranks that have noticed a failure may report."""


class RankError(RuntimeError):
    """A rank did not take part in a collective; the message names it, and the parameters that were on their way."""


class Team:
    """The ranks of a mesh, in its own row-major order, with the collectives that a step needs.

    Each takes `what`, a description of what is on its way, for the error that a missing rank raises.
    """

    def __init__(self, group: dist.ProcessGroup, ranks: Sequence[int]) -> None:
        self.ranks = tuple(ranks)
        self.rank = self.ranks.index(dist.get_rank())
        """This process's place in the team."""
        self._group = group
        # groups number their ranks in ascending order, whatever order a mesh has
        self._order = sorted(range(len(self.ranks)), key=lambda place: dist.get_group_rank(group, self.ranks[place]))
        self._calls = 0

    @classmethod
    def of_mesh(cls, mesh: DeviceMesh) -> "Team":
        """That of all ranks of a mesh, of any number of axes; always the same object for the same mesh.

        Raises:
            ValueError: this process is not part of the mesh.
        """
        if mesh not in _of_mesh:
            ranks = mesh.mesh.flatten().tolist()
            if dist.get_rank() not in ranks:
                raise ValueError(f"rank {dist.get_rank()} is not on the mesh of its parameters, {mesh}")
            _of_mesh[mesh] = cls(_group_of(mesh, ranks), ranks)
        return _of_mesh[mesh]

    @classmethod
    def of_group(cls, group: dist.ProcessGroup) -> "Team":
        """That of a process group; always the same object for the same group."""
        if group not in _of_group:
            _of_group[group] = cls(group, dist.get_process_group_ranks(group))
        return _of_group[group]

    def __deepcopy__(self, _: dict[int, Any]) -> "Team":
        return self

    def __reduce__(self) -> str:
        raise TypeError("a process group cannot be pickled; save the optimizer's state_dict() instead")

    @property
    def size(self) -> int:
        return len(self.ranks)

    def total(self, x: Tensor, what: str) -> Tensor:
        """The sum of what every rank brings, in place."""
        with self._named(what):
            dist.all_reduce(x, group=self._group)
        return x

    def swap(self, send: Tensor, counts: Sequence[int], expected: Sequence[int], what: str) -> Callable[[], Tensor]:
        """Send so many numbers to each rank, and give back a function that waits for what the others send.

        Args:
            send: flat, in the order of the team's ranks, as is what comes.
            counts: how many of them go to each rank.
            expected: how many come from each.
        """
        sorted_already = self._order == list(range(self.size))
        if not sorted_already:
            pieces = torch.split(send, list(counts))
            send = torch.cat([pieces[place] for place in self._order])
        leaving, coming = ([numbers[place] for place in self._order] for numbers in (counts, expected))
        receive = send.new_empty(sum(expected))
        with self._named(what):
            work = dist.all_to_all_single(receive, send, coming, leaving, group=self._group, async_op=True)

        def wait() -> Tensor:
            with self._named(what):
                work.wait()
            if sorted_already:
                return receive
            pieces = dict(zip(self._order, torch.split(receive, coming), strict=True))
            return torch.cat([pieces[place] for place in range(self.size)])

        return wait

    def everyone(self, mine: Any, what: str) -> list[Any]:
        """What every rank brings, of plain data."""
        found: list[Any] = [None] * self.size
        with self._named(what):
            dist.all_gather_object(found, mine, group=self._group)
        by_place = dict(zip(self._order, found, strict=True))
        return [by_place[place] for place in range(self.size)]

    def _named(self, what: str) -> "_Named":
        self._calls += 1
        return _Named(self, what, self._calls)

    def _absent(self, call: int) -> list[int]:
        """Ranks that have not noticed a failure of this call within a few seconds, as the store knows them."""
        store = dist.distributed_c10d._get_default_store()
        place = f"modular_manifolds/{min(self.ranks)}-{self.size}/{call}"
        store.set(f"{place}/{dist.get_rank()}", "here")
        until = monotonic() + GRACE
        absent = set(self.ranks)
        while absent and monotonic() < until:
            absent = {rank for rank in absent if not store.check([f"{place}/{rank}"])}
            sleep(0.05)
        return sorted(absent)


_of_mesh: dict[DeviceMesh, Team] = {}
_of_group: WeakKeyDictionary[dist.ProcessGroup, Team] = WeakKeyDictionary()


def _group_of(mesh: DeviceMesh, ranks: list[int]) -> dist.ProcessGroup:
    if mesh.ndim == 1:
        return mesh.get_group()
    if ranks == list(range(dist.get_world_size())):
        group = dist.group.WORLD
        assert group is not None
        return group
    return mesh._flatten().get_group()


class _Named:
    """Turns the failure of a collective into a `RankError`."""

    def __init__(self, team: Team, what: str, call: int) -> None:
        self._team, self._what, self._call = team, what, call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, RuntimeError):
            return
        try:
            absent = self._team._absent(self._call)
            names = ", ".join(map(str, absent))
            who = f"no answer from rank {names}" if absent else "every rank is there, but the collective failed"
        except Exception:
            who = "nor does the store answer that would know which rank is missing (it may have been on that rank)"
        me = dist.get_rank()
        raise RankError(
            f"rank {me}, with {self._what}: {who}. The job must be started again, from its last checkpoint. "
            f"The process group said: {str(error).splitlines()[0] if str(error) else kind}"
        ) from error
