"""Stiefel x Frobenius: a cheaper step along the direction, which is the normalised Riemannian gradient (`direct`)."""

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, drop_rounding, length
from modular_manifolds.lmo.table import landings
from modular_manifolds.manifolds import Stiefel
from modular_manifolds.norms import Frobenius


@landings.register(Stiefel, Frobenius)
def stiefel_frobenius_landing(
    manifold: Stiefel,
    norm: Frobenius,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    lr: float | Tensor,
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """The retraction of w - lr t / ||t||, where t is the tangent part of g.

    Projected once: what rounding leaves of the normal part, the retraction takes out.
    """
    t = drop_rounding(manifold.to_tangent(w, g), g)
    size = length(t)
    return manifold.retract(w, t * (-lr / size.masked_fill(size == 0, 1.0)))
