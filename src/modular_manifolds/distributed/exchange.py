"""Whole tensors at their owners: packed, sent, and sent back, in one all-to-all each way for any number of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from modular_manifolds.distributed.layout import Layout
from modular_manifolds.distributed.team import Team


@dataclass(frozen=True)
class Exchange:
    """Tensors spread over a team, each with the rank that is to see it whole.

    What is spread comes as one list for every tensor: several tensors of one layout, which travel together.

    Args:
        team: the ranks.
        layouts: one for every tensor, of which there is at least one; their order is the same on all ranks.
        owners: the place in the team of each one's owner; among these ranks.
        what: said of a failure.
        among: of the team, the ranks that this one shares the work with, which hold everything; by default all.
    """

    team: Team
    layouts: Sequence[Layout]
    owners: Sequence[int]
    what: str
    among: tuple[int, ...] | None = None

    @cached_property
    def owned(self) -> list[int]:
        """Which tensors this rank owns."""
        return [i for i, owner in enumerate(self.owners) if owner == self.team.rank]

    def collect(self, locals_: Sequence[Sequence[Tensor]]) -> Callable[[], list[list[Tensor]]]:
        """Start to send every rank's parts to the owners; what this gives back waits, and returns whole tensors.

        Owners that are copies of each other hear only from the ranks of their own copy.

        Args:
            locals_: for every tensor, this rank's parts.

        Returns:
            A function to the whole tensors, for each that this rank owns.
        """
        me, together = self.team.rank, len(locals_[0])
        outgoing: list[list[Tensor]] = [[] for _ in self.team.ranks]
        for layout, owner, parts in zip(self.layouts, self.owners, locals_, strict=True):
            if owner != me and me in layout.copies[owner]:
                outgoing[owner].extend(part.reshape(-1) for part in parts)
        expected = [0] * self.team.size
        for i in self.owned:
            layout = self.layouts[i]
            for rank in layout.copies[me]:
                if rank != me:
                    expected[rank] += together * layout.boxes[rank].numel
        moves = any(len(layout.copies[owner]) > 1 for layout, owner in zip(self.layouts, self.owners, strict=True))
        receive = self._swap(moves, outgoing, expected, locals_[0][0])

        def whole() -> list[list[Tensor]]:
            pieces = receive()
            wholes = []
            for i in self.owned:
                layout = self.layouts[i]
                tensors = [part.new_empty(layout.shape) for part in locals_[i]]
                for rank in layout.copies[me]:
                    box = layout.boxes[rank]
                    for tensor, part in zip(tensors, locals_[i], strict=True):
                        box.of(tensor).copy_(part if rank == me else pieces[rank].next(box.shape))
                wholes.append(tensors)
            return wholes

        return whole

    def spread(self, wholes: Sequence[Sequence[Tensor]], into: Sequence[Sequence[Tensor]]) -> Callable[[], None]:
        """Start to send every owner's whole tensors to all ranks; what this gives back waits, and overwrites `into`.

        Args:
            wholes: for each tensor that this rank owns, several of one layout.
            into: for every tensor, this rank's parts.
        """
        me = self.team.rank
        outgoing: list[list[Tensor]] = [[] for _ in self.team.ranks]
        for i, tensors in zip(self.owned, wholes, strict=True):
            boxes = self.layouts[i].boxes
            for rank in self._together:
                if rank != me:
                    outgoing[rank].extend(boxes[rank].of(tensor).reshape(-1) for tensor in tensors)
        expected = [0] * self.team.size
        for owner, parts in zip(self.owners, into, strict=True):
            if owner != me:
                expected[owner] += sum(part.numel() for part in parts)
        receive = self._swap(len(self._together) > 1, outgoing, expected, into[0][0])

        def write() -> None:
            pieces = receive()
            own = iter(wholes)
            for layout, owner, parts in zip(self.layouts, self.owners, into, strict=True):
                if owner == me:
                    for part, tensor in zip(parts, next(own), strict=True):
                        part.copy_(layout.boxes[me].of(tensor))
                else:
                    for part in parts:
                        part.copy_(pieces[owner].next(tuple(part.shape)))

        return write

    @property
    def _together(self) -> Sequence[int]:
        return range(self.team.size) if self.among is None else self.among

    def _swap(
        self, moves: bool, outgoing: list[list[Tensor]], expected: list[int], like: Tensor
    ) -> Callable[[], list["_Reader"]]:
        if not moves:
            return lambda: [_Reader(like.new_empty(0)) for _ in expected]
        counts = [sum(piece.numel() for piece in pieces) for pieces in outgoing]
        send = torch.cat([like.new_empty(0), *(piece for pieces in outgoing for piece in pieces)])
        wait = self.team.swap(send, counts, expected, self.what)
        return lambda: [_Reader(piece) for piece in torch.split(wait(), expected)]


class _Reader:
    """What one rank has sent, read piece by piece."""

    def __init__(self, flat: Tensor) -> None:
        self._flat, self._start = flat, 0

    def next(self, shape: tuple[int, ...]) -> Tensor:
        start, self._start = self._start, self._start + prod(shape)
        return self._flat[start : self._start].view(shape)
