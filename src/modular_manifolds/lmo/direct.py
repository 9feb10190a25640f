"""Pairs whose direction is the norm's own LMO at the tangent part of the gradient.

That is so wherever the LMO of a tangent vector is tangent, in the coordinates in which the manifold's metric is the
Frobenius inner product: always for the Frobenius norm; for unitarily invariant norms where the tangent space is
{P A Q} with projectors P and Q, or the symmetric matrices; for norms by rows where it is a product over rows.
"""

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, drop_rounding
from modular_manifolds.linalg.scaling import MATRIX, Axes
from modular_manifolds.lmo.table import NoLMOError, directions
from modular_manifolds.manifolds import (
    DoublyStochastic,
    Euclidean,
    Grassmann,
    LowRankFactors,
    Manifold,
    Oblique,
    SpectralSphere,
    Sphere,
    SymmetricPositiveDefinite,
)
from modular_manifolds.norms import Blockwise, Frobenius, MaxColumn, MaxEntry, MaxRow, Norm, Nuclear, Schatten, Spectral


def direct(
    manifold: Manifold, norm: Norm, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """The norm's LMO, in whitened coordinates, at the tangent part of g."""
    return manifold.unwhiten(w, norm.lmo(manifold.unwhiten(w, tangent_part(manifold, w, g)), precision))


def tangent_part(
    manifold: Manifold, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], axes: Axes = MATRIX
) -> Float[Tensor, "*b m n"]:
    """Minus the projection of -g onto the tangent space (or cone), or zero where it is rounding.

    Projected twice: at a w that is off its manifold by d, one projection leaves d times the normal part of g.
    """
    return drop_rounding(-manifold.to_tangent(w, manifold.to_tangent(w, -g)), g, axes)


@directions.register(
    Oblique, MaxRow, axis="rows", cost="elementwise", source="a sphere for each row; modular duality, arXiv 2410.21265"
)
@directions.register(
    Oblique, MaxColumn, axis="columns", cost="elementwise", source="a sphere for each column; arXiv 2410.21265"
)
def oblique(
    manifold: Oblique, norm: Norm, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """The Riemannian gradient, normalised row by row (or column by column)."""
    return norm.lmo(tangent_part(manifold, w, g, manifold.along), precision)


def projected(
    manifold: Manifold, norm: Norm, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """As `direct`, and made tangent again, which lengthens nothing here.

    A matrix function leaves the tangent space by its rounding, amplified where singular values vanish, as they do on
    P A Q; and where they tie, an LMO of a symmetric matrix need not be symmetric.
    """
    return manifold.to_tangent(w, direct(manifold, norm, w, g, precision))


def check_factors(manifold: Manifold, norm: Norm) -> None:
    """Raise NoLMOError unless the norm is the largest of two unitarily invariant ones, for A and for B.

    Where a factor has lost rank, the other one moves in a subspace, on which other norms have no LMO of their own.
    """
    assert isinstance(manifold, LowRankFactors)
    assert isinstance(norm, Blockwise)
    split, rows = norm.blocks.split, manifold.rows
    fits = isinstance(split, tuple) and len(split) == 2 and split[0] == rows and norm.blocks.axis == "rows"
    if not fits or not all(one.unitarily_invariant for one, _ in norm.parts):
        raise NoLMOError(
            f"no LMO for {manifold} x {norm}; use PerBlock of unitarily invariant norms, cut between the factors, such "
            f"as PerBlock(Spectral(), ({rows}, n)) for a {rows} x r and an n x r factor"
        )


METRIC = "steepest descent in the metric; Absil, Mahony & Sepulchre 2008, section 4.1"
QUOTIENT = "tangent space P A; iMuon, arXiv 2605.09238"
INTERIOR = "interior: tangent space P A P with P = I - 11^T / n"
LIFTED = "X^1/2 lmo(X^1/2 sym(G) X^1/2) X^1/2; iMuon, arXiv 2605.09238"
SYMMETRIC = "symmetric G, symmetric LMO"
INVARIANT: list[tuple[type[Norm], str]] = [
    (Frobenius, "elementwise"),
    (Spectral, "1 msign"),
    (Nuclear, "1 SVD"),
    (Schatten, "1 SVD"),
]
"""Norms of singular values, with what their LMO costs."""

# the spheres by name, as they have a rule for every other norm, which would come before that of every manifold
for _manifold in (Manifold, Sphere, SpectralSphere):
    directions.register(_manifold, Frobenius, cost="1 tangent projection", source=METRIC)(direct)
directions.register(Euclidean, Norm, cost="the norm's LMO", source="duality of norms; arXiv 2410.21265")(direct)
directions.register(
    LowRankFactors,
    Blockwise,
    cost="the norm's LMO, 2 eigh",
    source="budget split between the factors; LoRA-Muon, arXiv 2606.12921",
    check=check_factors,
)(direct)
for _norm, _cost in INVARIANT:
    directions.register(Grassmann, _norm, cost=_cost, source=QUOTIENT)(projected)
    directions.register(DoublyStochastic, _norm, cost=_cost, source=INTERIOR)(projected)
    directions.register(SymmetricPositiveDefinite, _norm, metric="euclidean", cost=_cost, source=SYMMETRIC)(projected)
    directions.register(
        SymmetricPositiveDefinite, _norm, metric="affine-invariant", cost=f"{_cost}, 2 eigh", source=LIFTED
    )(projected)
directions.register(SymmetricPositiveDefinite, MaxEntry, metric="euclidean", cost="elementwise", source=SYMMETRIC)(
    projected
)
