"""How long an activation is: the largest value along some of its axes of the root mean square along others."""

from dataclasses import dataclass
from math import gcd, prod, sqrt
from typing import Literal

Role = Literal["max", "sum", "rms"]
"""What the norm does along an axis. Of all axes, "max" is taken last, "sum" before it, and "rms" first."""

Axis = tuple[int, Role]
Dim = tuple[Axis, ...]
Roles = Role | tuple[Role, ...]
"""A dimension of a tensor, as the axes that it was flattened from: heads and their entries, say."""


def _merged(axes: list[Axis]) -> Dim:
    merged: list[Axis] = []
    for size, role in axes:
        if size == 1:
            continue
        if merged and merged[-1][1] == role:
            merged[-1] = (merged[-1][0] * size, role)
        else:
            merged.append((size, role))
    return tuple(merged)


@dataclass(frozen=True)
class Space:
    """A shape and its norm. Batches and tokens are "max": a sample or token is bounded by itself."""

    dims: tuple[Dim, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], roles: Roles) -> "Space":
        """One role for each dimension, or one for all."""
        each = (roles,) * len(shape) if isinstance(roles, str) else roles
        return cls(tuple(_merged([(size, role)]) for size, role in zip(shape, each, strict=True)))

    @classmethod
    def samples(cls, shape: tuple[int, ...]) -> "Space":
        """Every sample, along the first dimension, by the root mean square of all of it."""
        return cls.of(shape, "max") if not shape else cls.of(shape, "rms").with_role(0, "max")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(size for size, _ in dim) for dim in self.dims)

    @property
    def axes(self) -> list[Axis]:
        """The axes of all dimensions, in row-major order."""
        return [axis for dim in self.dims for axis in dim]

    @property
    def entries(self) -> int:
        """Entries that a root mean square is taken over."""
        return prod(size for size, role in self.axes if role == "rms")

    def role(self, dim: int) -> Role | None:
        """The role of a whole dimension; None where it has several, and "max" where it has one entry."""
        roles = {role for _, role in self.dims[dim]}
        return roles.pop() if len(roles) == 1 else None if roles else "max"

    def with_dim(self, dim: int, axes: Dim) -> "Space":
        """Another structure for one dimension."""
        dims = list(self.dims)
        dims[dim] = _merged(list(axes))
        return Space(tuple(dims))

    def with_role(self, dim: int, role: Role) -> "Space":
        return self.with_dim(dim, ((self.shape[dim], role),))

    def all(self, role: Role) -> "Space":
        """One role everywhere."""
        return Space.of(self.shape, role)

    def replaced(self, old: Role, new: Role) -> "Space":
        """Another role wherever there was `old`."""
        return Space(tuple(_merged([(n, new if role == old else role) for n, role in dim]) for dim in self.dims))

    def permuted(self, order: list[int]) -> "Space":
        return Space(tuple(self.dims[i] for i in order))

    def reshaped(self, shape: tuple[int, ...]) -> "Space | None":
        """The same norm of a tensor viewed in another shape; None where an axis would be cut across."""
        axes = list(self.axes)
        dims: list[Dim] = []
        for size in shape:
            dim: list[Axis] = []
            missing = size
            while missing > 1:
                n, role = axes.pop(0)
                taken = n if missing % n == 0 else missing if n % missing == 0 else 0
                if not taken:
                    return None
                dim.append((taken, role))
                if taken < n:
                    axes.insert(0, (n // taken, role))
                missing //= taken
            dims.append(_merged(dim))
        return Space(tuple(dims))

    def __str__(self) -> str:
        return " x ".join("".join(f"({n} {role})" for n, role in dim) or "1" for dim in self.dims)


def conversion(source: Space, target: Space) -> float:
    """The smallest factor known with ||x||_target <= factor ||x||_source, for two norms of one shape."""
    pairs = _refined(source, target)
    if pairs is not None and {(old, new) for _, old, new in pairs} <= {("max", "max"), ("sum", "rms")}:
        return 1 / sqrt(prod(n for n, old, _ in pairs if old == "sum"))  # one entry is the worst case
    if pairs is None or _tangled(pairs):
        return _to_max(source) * _from_max(target)
    factor = 1.0
    for n, old, new in pairs:
        if old == new or (new != "sum" and old != "rms"):
            continue  # a maximum is at least a mean, a sum at least a maximum
        if new == "max":
            factor *= sqrt(n)
        elif new == "sum":
            factor *= n
    return factor


def _tangled(pairs: list[tuple[int, Role, Role]]) -> bool:
    """Whether a maximum of sums would become a mean inside of sums, which its size does not bound."""
    sums = any(old == "sum" or new == "sum" for _, old, new in pairs)
    return sums and any(new == "rms" and old != "rms" for _, old, new in pairs)


def _to_max(space: Space) -> float:
    return sqrt(space.entries)


def _from_max(space: Space) -> float:
    return float(prod(n for n, role in space.axes if role == "sum"))


def _refined(source: Space, target: Space) -> list[tuple[int, Role, Role]] | None:
    """Both norms on axes that they have in common; None where their axes overlap without nesting."""
    assert source.shape == target.shape, (source, target)
    pairs: list[tuple[int, Role, Role]] = []
    for left, right in zip(source.dims, target.dims, strict=True):
        a, b = list(left), list(right)
        while a and b:
            (m, old), (n, new) = a.pop(0), b.pop(0)
            common = gcd(m, n)
            if common not in (m, n):
                return None
            pairs.append((common, old, new))
            if m > common:
                a.insert(0, (m // common, old))
            if n > common:
                b.insert(0, (n // common, new))
    return pairs


def broadcast(space: Space, shape: tuple[int, ...]) -> tuple[Space, float]:
    """The norm of x repeated to a larger shape, with the factor by which that makes x longer.

    Repeating changes neither a maximum nor a mean; axes along which x is repeated become "max" ones.
    """
    dims: list[Dim] = [()] * (len(shape) - len(space.dims)) + list(space.dims)
    grown = [
        dim if prod(n for n, _ in dim) == size else _merged([(size, "max")])
        for dim, size in zip(dims, shape, strict=True)
    ]
    return Space(tuple(grown)), 1.0


def finer(first: Space | None, second: Space | None) -> Space | None:
    """Of two norms asked of one activation, that which takes more maxima: the other is at most as large."""
    if first is None or second is None:
        return first or second
    return first if first.entries <= second.entries else second


def blocks_of(dim: Dim) -> tuple[int, int] | None:
    """(count, size) of a dimension made of equal blocks: the largest, over blocks, of the mean inside; else None."""
    roles = [role for _, role in dim]
    if roles == []:
        return 1, 1
    if roles == ["rms"]:
        return 1, dim[0][0]
    if roles == ["max"]:
        return dim[0][0], 1
    if roles == ["max", "rms"]:
        return dim[0][0], dim[1][0]
    return None
