"""Which part of a tensor every rank holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

Run = tuple[int, int]
"""Consecutive indices of an axis: the first one, and how many."""


class Box(NamedTuple):
    """What a rank holds of a tensor: consecutive indices along every axis."""

    runs: tuple[Run, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(length for _, length in self.runs)

    @property
    def numel(self) -> int:
        return prod(self.shape)

    def of(self, whole: Tensor) -> Tensor:
        """A view of that part of the whole tensor."""
        for axis, (start, length) in enumerate(self.runs):
            whole = whole.narrow(axis, start, length)
        return whole


@dataclass(frozen=True)
class Layout:
    """How a tensor lies on a mesh of ranks.

    Args:
        shape: of the whole tensor.
        mesh: sizes of the mesh's axes; ranks are numbered through it in row-major order.
        placements: of DTensor, one for every axis of the mesh.

    Raises:
        TypeError: it is a sum yet to be made, or placed in a way that is not known here.
    """

    shape: tuple[int, ...]
    mesh: tuple[int, ...]
    placements: tuple[Placement, ...]

    @classmethod
    def of(cls, x: DTensor) -> "Layout":
        """That of a DTensor."""
        return cls(tuple(x.shape), tuple(x.device_mesh.shape), tuple(x.placements))

    @classmethod
    def replicated(cls, shape: Sequence[int], ranks: int) -> "Layout":
        """The same tensor on every rank."""
        return cls(tuple(shape), (ranks,), (Replicate(),))

    def __post_init__(self) -> None:
        for placement in self.placements:
            if not isinstance(placement, Replicate) and _axis(placement) is None:
                raise TypeError(f"a parameter must be sharded or replicated along each mesh axis, not {placement}")

    @property
    def size(self) -> int:
        """Number of ranks."""
        return prod(self.mesh)

    @property
    def held(self) -> int:
        """How often the whole tensor is held."""
        return self.size // len(self.copies[0])

    @cached_property
    def sharded(self) -> tuple[int, ...]:
        """Axes of the tensor that are cut."""
        axes = {_axis(p) for p, size in zip(self.placements, self.mesh, strict=True) if size > 1}
        return tuple(sorted(axis for axis in axes if axis is not None))

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """What each rank holds."""
        return tuple(self._box(coordinate) for coordinate in self._coordinates)

    @cached_property
    def copies(self) -> tuple[tuple[int, ...], ...]:
        """For each rank, the ranks that together with it hold the whole tensor once."""
        replicated = [i for i, p in enumerate(self.placements) if isinstance(p, Replicate)]
        copies: dict[tuple[int, ...], list[int]] = {}
        for rank, coordinate in enumerate(self._coordinates):
            copies.setdefault(tuple(coordinate[i] for i in replicated), []).append(rank)
        found = {place: tuple(ranks) for place, ranks in copies.items()}  # each once, there may be thousands
        return tuple(found[tuple(c[i] for i in replicated)] for c in self._coordinates)

    def parts(self, sharing: int) -> tuple[tuple[int, ...], ...]:
        """For each rank, the ranks of the `sharing` copies that its own is one of, a divisor of all; copy by copy."""
        copies = list(dict.fromkeys(self.copies))
        found: dict[int, tuple[int, ...]] = {}
        for start in range(0, len(copies), sharing):
            part = tuple(rank for copy in copies[start : start + sharing] for rank in copy)
            found |= dict.fromkeys(part, part)
        return tuple(found[rank] for rank in range(self.size))

    @cached_property
    def _coordinates(self) -> list[tuple[int, ...]]:
        return list(product(*map(range, self.mesh)))

    def _box(self, coordinate: tuple[int, ...]) -> Box:
        runs: list[Run] = [(0, n) for n in self.shape]
        for i in self._order:
            axis = _axis(self.placements[i])
            if axis is not None:
                runs[axis] = _chunk(runs[axis], self.mesh[i], coordinate[i])
        return Box(tuple(runs))

    @cached_property
    def _order(self) -> list[int]:
        """Axes of the mesh in the order in which they cut.

        One after the other, but for FSDP over tensor parallelism: its placement stands first, and cuts what the others
        have left.
        """
        late = [i for i, p in enumerate(self.placements) if _split_factor(p) > 1]
        return [i for i in range(len(self.mesh)) if i not in late] + late[::-1]


def _axis(placement: Any) -> int | None:
    """The axis of the tensor that a placement cuts."""
    return placement.dim if isinstance(placement, Shard) or _split_factor(placement) else None


def _split_factor(placement: Any) -> int:
    """Into how many pieces the axis has been cut before, for the placement of FSDP over tensor parallelism; else 0."""
    return int(getattr(placement, "split_factor", 0))


def _chunk(run: Run, pieces: int, index: int) -> Run:
    """The piece of that index, cut as by torch.chunk: all of one length, but for the last ones."""
    start, length = run
    size = -(-length // pieces)
    low, high = min(index * size, length), min((index + 1) * size, length)
    return start + low, high - low
