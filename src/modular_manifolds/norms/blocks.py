"""Norms of fused weights: the largest of the lengths of blocks."""

from abc import abstractmethod
from dataclasses import dataclass
from math import hypot

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.blocks import Axis, Blocks
from modular_manifolds.linalg import Precision
from modular_manifolds.norms.norm import Norm


class Blockwise(Norm):
    """max_i weight_i norm_i(block_i), so that an update of length 1 may move every block as if it were alone.

    Shapes that cannot be cut so are a ValueError, in every method.
    """

    @property
    @abstractmethod
    def blocks(self) -> Blocks:
        """Where the matrix is cut."""

    @property
    @abstractmethod
    def parts(self) -> tuple[tuple[Norm, float], ...]:
        """The norm and the weight of every block."""

    def norm(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return self.blocks.numbers(self.parts, lambda part, block: part[1] * part[0].norm(block), u).amax(-1)

    def spectral_bound(self, m: int, n: int) -> float:
        """Root of the sum of the blocks' squares."""
        return hypot(*self.block_bounds(m, n))

    def row_bound(self, m: int, n: int) -> float:
        shapes = self.blocks.shapes((m, n))
        rows = [norm.row_bound(*shape) / weight for (norm, weight), shape in zip(self.parts, shapes, strict=True)]
        return max(rows) if self.blocks.axis == "rows" else hypot(*rows)

    def block_bounds(self, m: int, n: int) -> list[float]:
        """`spectral_bound` of every block by itself, in this norm."""
        shapes = self.blocks.shapes((m, n))
        return [norm.spectral_bound(*shape) / weight for (norm, weight), shape in zip(self.parts, shapes, strict=True)]

    def dual(self, g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        return self.blocks.numbers(self.parts, lambda part, block: part[0].dual(block) / part[1], g).sum(-1)

    def lmo(self, g: Float[Tensor, "*b m n"], precision: Precision = "exact") -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.parts, lambda part, block: part[0].lmo(block, precision) / part[1], g)

    def to_ball(self, u: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        return self.blocks.matrices(self.parts, lambda part, block: part[0].to_ball(part[1] * block) / part[1], u)


@dataclass(frozen=True)
class PerBlock(Blockwise):
    """max_i weights_i norms_i(block_i) over the blocks of a fused weight, such as query, key and value in one.

    Args:
        norms: one for all blocks, or a tuple of one for each.
        split: the number of blocks, which then are equal, or a tuple of their sizes.
        axis: whether a block is made of whole "rows" or of whole "columns".
        weights: a positive number for each block, by default 1; a block of weight 2 moves half as far.

    Raises:
        ValueError: any of these is out of range, or there are not as many norms or weights as blocks.
    """

    norms: Norm | tuple[Norm, ...]
    split: int | tuple[int, ...]
    axis: Axis = "rows"
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self.blocks.one_each(self.norms, Norm, "norms")
        if self.weights is not None:
            numbers = isinstance(self.weights, tuple) and all(0 < weight < float("inf") for weight in self.weights)
            if not numbers or len(self.weights) != len(self.blocks):
                raise ValueError(
                    f"weights must be a tuple of {len(self.blocks)} positive finite numbers, got {self.weights}"
                )

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.split, self.axis)

    @property
    def parts(self) -> tuple[tuple[Norm, float], ...]:
        norms = self.blocks.one_each(self.norms, Norm, "norms")
        weights = (1.0,) * len(norms) if self.weights is None else self.weights
        return tuple(zip(norms, weights, strict=True))


@dataclass(frozen=True)
class PerHead(Blockwise):
    """max_i norms_i(head_i) over the equal blocks of an attention weight, one for each head.

    Args:
        norms: one for all heads, or a tuple of one for each.
        heads: how many there are.
        axis: "rows" for queries, keys and values, whose outputs the heads share; "columns" for the output projection.

    Raises:
        ValueError: any of these is out of range, or there are not as many norms as heads.
    """

    norms: Norm | tuple[Norm, ...]
    heads: int
    axis: Axis = "rows"

    def __post_init__(self) -> None:
        if not isinstance(self.heads, int) or self.heads < 1:
            raise ValueError(f"heads must be a positive int, got {self.heads!r}")
        self.blocks.one_each(self.norms, Norm, "norms")

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.heads, self.axis)

    @property
    def parts(self) -> tuple[tuple[Norm, float], ...]:
        return tuple((norm, 1.0) for norm in self.blocks.one_each(self.norms, Norm, "norms"))
