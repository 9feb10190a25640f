"""Geometries in which modules are well-normed (Large et al., arXiv 2405.14813).

On inputs of root mean square 1 outputs have at most that, and an update of length 1 changes them by at most 1.
"""

from math import prod, sqrt

from modular_manifolds.blocks import Axis
from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Euclidean, Oblique, Product, Stiefel
from modular_manifolds.norms import ConvOperator, MaxEntry, MaxRow, Norm, PerHead, RMSOperator, TransposedRMSOperator


def linear_geometry(out: int, into: int, blocks: int = 1, *, transposed: bool = False) -> Geometry:
    """Of a matrix: singular values sqrt(out / in), and the RMS operator norm, for each of its equal blocks of outputs.

    Args:
        out, into: features.
        blocks: heads, or parts of a fused weight.
        transposed: whether the weight is kept as (in, out).

    Raises:
        ValueError: the outputs make no such blocks.
    """
    if out % blocks:
        raise ValueError(f"{out} features make no {blocks} equal heads")
    norm: Norm = TransposedRMSOperator() if transposed else RMSOperator()
    manifold = Stiefel(sqrt(out / blocks / into))
    if blocks == 1:
        return Geometry(manifold, norm)
    axis: Axis = "columns" if transposed else "rows"
    return Geometry(Product(manifold, blocks, axis), PerHead(norm, blocks, axis))


def convolution_geometry(out: int, into: int, kernel: tuple[int, ...], groups: int = 1) -> Geometry:
    """Of a convolution (out, into, *kernel): singular values sqrt(out / in) / taps of every tap, and taps times the
    largest of their RMS operator norms; `into` counts the channels of one group."""
    taps = prod(kernel)
    manifold, norm = Stiefel(sqrt(out / groups / into) / taps), ConvOperator(taps)
    if groups == 1:
        return Geometry(manifold, norm, kernel_axes=len(kernel))
    return Geometry(Product(manifold, groups), PerHead(norm, groups), kernel_axes=len(kernel))


def embedding_geometry(features: int) -> Geometry:
    """Of a table of vectors: rows of root mean square 1."""
    return Geometry(Oblique("rows", sqrt(features)), MaxRow())


VECTOR = Geometry(Euclidean(), MaxRow())
"""Of what is added: free, measured by its root mean square."""
GAIN = Geometry(Euclidean(), MaxEntry())
"""Of what multiplies feature by feature: free, measured by its largest entry."""
