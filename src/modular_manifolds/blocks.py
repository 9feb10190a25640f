"""A matrix cut into blocks of rows or of columns, as fused weights are: query, key and value, or the heads of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Axis = Literal["rows", "columns"]

T = TypeVar("T")


@dataclass(frozen=True)
class Blocks:
    """Where a matrix is cut.

    Args:
        split: the number of blocks, which then are equal, or a tuple of their sizes.
        axis: whether a block is made of whole rows (axis -2 is cut) or of whole columns (axis -1).

    Raises:
        ValueError: there is no block, a size is not a positive int, or the axis is none of the two.
    """

    split: int | tuple[int, ...]
    axis: Axis = "rows"

    def __post_init__(self) -> None:
        if self.axis not in ("rows", "columns"):
            raise ValueError(f"axis must be 'rows' or 'columns', got {self.axis!r}")
        counts = self.split if isinstance(self.split, tuple) else (self.split,)
        if not counts or not all(isinstance(count, int) and count > 0 for count in counts):
            raise ValueError(f"split must be a positive number of blocks or a tuple of their sizes, got {self.split!r}")

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.split) if isinstance(self.split, tuple) else self.split

    @property
    def along(self) -> int:
        """The tensor axis that is cut."""
        return -2 if self.axis == "rows" else -1

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How many rows, or columns, of a tensor of this shape go into each block.

        Raises:
            ValueError: the tensor cannot be cut so.
        """
        total = shape[self.along]
        if isinstance(self.split, tuple):
            if sum(self.split) != total:
                raise ValueError(
                    f"blocks of {self.split} {self.axis} make {sum(self.split)}, but a tensor of shape {tuple(shape)} "
                    f"has {total}"
                )
            return self.split
        if total % self.split:
            raise ValueError(
                f"{total} {self.axis} of a tensor of shape {tuple(shape)} make no {self.split} equal blocks"
            )
        return (total // self.split,) * self.split

    def shapes(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """Rows and columns of each block of a tensor of this shape.

        Raises:
            ValueError: as for `sizes`.
        """
        m, n = shape[-2:]
        return [(size, n) if self.axis == "rows" else (m, size) for size in self.sizes(shape)]

    def cut(self, x: Float[Tensor, "*b m n"]) -> list[Float[Tensor, "*b _ _"]]:
        """The blocks, as views."""
        return list(x.split_with_sizes(self.sizes(x.shape), self.along))

    def join(self, blocks: Sequence[Float[Tensor, "*b _ _"]]) -> Float[Tensor, "*b m n"]:
        """The matrix cut into these blocks."""
        return torch.cat(list(blocks), self.along)

    def one_each(self, given: T | tuple[T, ...], kind: type[T], name: str) -> tuple[T, ...]:
        """`given` as a tuple of one `kind` for every block, where it may be one for all of them.

        Raises:
            ValueError: there are more or fewer than blocks.
            TypeError: one is of another type.
        """
        each = given if isinstance(given, tuple) else (given,) * len(self)
        if len(each) != len(self):
            raise ValueError(f"{name} has {len(each)} entries for {len(self)} blocks")
        for one in each:
            if not isinstance(one, kind):
                raise TypeError(f"{name} must be made of {kind.__name__}, got {one!r}")
        return each

    def matrices(
        self, parts: Sequence[T], function: Callable[..., Tensor], *tensors: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """function(part, *blocks), itself of a block's shape, for every part and its blocks, joined.

        Where all parts and all sizes are equal, the function is called once, with the blocks as a last batch axis.
        """
        if self._alike(parts, tensors[0]):
            return self._unstack(function(parts[0], *(self._stack(x) for x in tensors)))
        return self.join(self._each(parts, function, *tensors))

    def numbers(
        self, parts: Sequence[T], function: Callable[..., Tensor], *tensors: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b k"]:
        """function(part, *blocks), one number a matrix, for every part and its blocks. Called as in `matrices`."""
        if self._alike(parts, tensors[0]):
            return function(parts[0], *(self._stack(x) for x in tensors))
        return torch.stack(self._each(parts, function, *tensors), -1)

    def _each(self, parts: Sequence[T], function: Callable[..., Tensor], *tensors: Tensor) -> list[Tensor]:
        cuts = (self.cut(x) for x in tensors)
        return [function(part, *blocks) for part, *blocks in zip(parts, *cuts, strict=True)]

    def _alike(self, parts: Sequence[T], x: Tensor) -> bool:
        sizes = self.sizes(x.shape)
        return all(size == sizes[0] for size in sizes) and all(part == parts[0] for part in parts)

    def _stack(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b k _ _"]:
        blocks = torch.unflatten(x, self.along, (len(self), x.shape[self.along] // len(self)))
        return blocks if self.axis == "rows" else blocks.movedim(-2, -3)

    def _unstack(self, blocks: Float[Tensor, "*b k _ _"]) -> Float[Tensor, "*b m n"]:
        return blocks.flatten(-3, -2) if self.axis == "rows" else blocks.movedim(-3, -2).flatten(-2)
