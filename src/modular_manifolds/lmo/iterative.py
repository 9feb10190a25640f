"""Pairs for which no closed form is known, solved by splitting up to a certified gap."""

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.lmo.splitting import Splitting
from modular_manifolds.lmo.table import bounds, directions
from modular_manifolds.manifolds import DGram, FixedRank, Manifold, Oblique, SpectralBall, SpectralBand, Stiefel
from modular_manifolds.norms import Norm, Nuclear, Schatten, Spectral

PAIRS: list[tuple[type[Manifold], type[Norm]]] = [
    (Oblique, Spectral),
    (DGram, Spectral),
    (SpectralBall, Spectral),
    (SpectralBand, Spectral),
    (FixedRank, Spectral),
    (Stiefel, Schatten),
    (Stiefel, Nuclear),
]

CLOSER = Splitting(tolerance=1e-4, iterations=2000)
"""For certificates."""


def splitting_bound(
    manifold: Manifold, norm: Norm, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """The dual bound of a far longer run than the direction's own."""
    return CLOSER.solve(manifold, norm, w, g).bound


for _pair in PAIRS:
    directions.register(
        *_pair,
        kind="iterative",
        cost="10 to 80 x (1 eigh or SVD, 1 tangent projection)",
        source="Douglas-Rachford splitting, gap <= 1e-3; Lions & Mercier 1979",
    )(Splitting())
    bounds.register(*_pair)(splitting_bound)
