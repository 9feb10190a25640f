"""Which transformations of the rows, or of the columns, of a matrix its manifold and its norm allow."""

from collections.abc import Iterable, Sequence
from enum import Flag, auto

from modular_manifolds.blocks import Blocks
from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import (
    DGram,
    DoublyStochastic,
    Euclidean,
    FixedRank,
    Grassmann,
    Manifold,
    Oblique,
    Product,
    SpectralBall,
    SpectralBand,
    SpectralSphere,
    Sphere,
    Stiefel,
)
from modular_manifolds.norms import Blockwise, MaxColumn, MaxEntry, MaxRow, Norm


class Allowed(Flag):
    """What may be done to features. Orthogonal matrices include permutations and signs."""

    NOTHING = 0
    PERMUTE = auto()
    SIGN = auto()
    SCALE = auto()
    ROTATE = auto()
    SIGNED = PERMUTE | SIGN
    ORTHOGONAL = SIGNED | ROTATE
    ALL = ORTHOGONAL | SCALE


def allowed(geometry: Geometry, shape: tuple[int, ...], axis: int, indices: Sequence[int]) -> Allowed:
    """What is an isometry of the geometry: the manifold is mapped onto itself, and every update keeps its length.

    Steepest descent commutes with these, where its direction is unique: <g', a'> = <g, a> if both are transformed by an
    orthogonal matrix, and the feasible set of directions at w' is that at w, transformed. No norm allows scalings, and
    nothing is said of manifolds and norms that are not the library's.

    Args:
        geometry: of the parameter.
        shape: of the parameter.
        axis: of the parameter that is transformed.
        indices: what along the axis is transformed together; the rest stays.
    """
    kernel = geometry.kernel_axes
    m, n = shape[:2] if kernel else (1, *shape)[-2:] if len(shape) == 1 else shape[-2:]
    rows = axis == len(shape) - kernel - 2
    return _manifold(geometry.manifold, rows, indices, m, n) & _norm(geometry.norm, rows, indices, m, n)


def _manifold(manifold: Manifold, rows: bool, indices: Sequence[int], m: int, n: int) -> Allowed:
    """For left (rows) and right transformations.

    Singular values, and so the Frobenius norm, are invariant under rotations of either side. The lengths of rows are so
    under rotations of the columns, and under signed permutations of the rows; and so is it that rows are orthogonal,
    as those of a wide matrix of DGram.
    """
    match manifold:
        case Euclidean():
            return Allowed.ALL
        case Stiefel() | Sphere() | SpectralSphere() | SpectralBall() | SpectralBand() | Grassmann() | FixedRank():
            return Allowed.ORTHOGONAL
        case Oblique(axis=axis):
            return Allowed.SIGNED if rows == (axis == "rows") else Allowed.ORTHOGONAL
        case DGram():
            return Allowed.SIGNED if rows == (m < n) else Allowed.ORTHOGONAL
        case DoublyStochastic():
            return Allowed.PERMUTE
        case Product():
            here = _touched(manifold.blocks, rows, indices, (m, n))
            shapes = manifold.blocks.shapes((m, n))
            return _of_blocks(
                (_manifold(manifold.factors[i], rows, inside, *shapes[i]) for i, inside in here.items()),
                len(here) > 1 and rows == (manifold.blocks.axis == "rows"),
            )
    return Allowed.NOTHING


def _norm(norm: Norm, rows: bool, indices: Sequence[int], m: int, n: int) -> Allowed:
    """Functions of singular values are invariant under rotations of either side; the longest row under rotations of the
    columns and signed permutations of the rows; the largest entry under signed permutations alone.
    """
    if isinstance(norm, Blockwise):
        here = _touched(norm.blocks, rows, indices, (m, n))
        shapes = norm.blocks.shapes((m, n))
        return _of_blocks(
            (_norm(norm.parts[i][0], rows, inside, *shapes[i]) for i, inside in here.items()),
            len(here) > 1 and rows == (norm.blocks.axis == "rows"),
        )
    if norm.unitarily_invariant:
        return Allowed.ORTHOGONAL
    if isinstance(norm, MaxRow | MaxColumn):
        return Allowed.SIGNED if rows == isinstance(norm, MaxRow) else Allowed.ORTHOGONAL
    return Allowed.SIGNED if isinstance(norm, MaxEntry) else Allowed.NOTHING


def _touched(blocks: Blocks, rows: bool, indices: Sequence[int], shape: tuple[int, int]) -> dict[int, Sequence[int]]:
    """The blocks that are transformed, with what of each."""
    if rows != (blocks.axis == "rows"):
        return dict.fromkeys(range(len(blocks)), indices)
    found: dict[int, Sequence[int]] = {}
    start = 0
    for i, size in enumerate(blocks.sizes(shape)):
        inside = [index - start for index in indices if start <= index < start + size]
        if inside:
            found[i] = inside
        start += size
    return found


def _of_blocks(each: Iterable[Allowed], across: bool) -> Allowed:
    """What all blocks allow; features of different blocks do not change places, nor mix."""
    result = Allowed.ALL
    for one in each:
        result &= one
    return result & (Allowed.SIGN | Allowed.SCALE) if across else result
