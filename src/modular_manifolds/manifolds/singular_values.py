"""Sets of matrices that are bounds on singular values: nearest points, tangent cones, violations.

All in float64, in the basis of singular vectors: the values at a bound are equal, and so is what their vectors mix.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import apply_to_eigenvalues, thin_svd, working_dtype

EDGE = 1e-4
"""How near, relatively, a singular value is to a bound when it counts as being there (in bfloat16, 4 eps).

Far more than rounding moves it in float32, far less than a step does, of which the retraction would cut off the rest;
and the same in float64, so that a certificate there sees the tangent cone that a step in float32 had."""


def map_singular_values(
    x: Float[Tensor, "*b m n"], f: Callable[[Float[Tensor, "*b k"]], Float[Tensor, "*b k"]]
) -> Float[Tensor, "*b m n"]:
    """U diag(f(s)) V^T of x = U diag(s) V^T in x's dtype; x to the last bit where f leaves all of s as it is."""
    working_dtype(x.dtype)
    if x.shape[-2] < x.shape[-1]:
        return map_singular_values(x.mT, f).mT
    u, s, v = thin_svd(x)
    mapped = f(s)
    kept = (mapped == s).all(-1)[..., None, None]
    return torch.where(kept, x, (u * mapped.unsqueeze(-2) @ v.mT).to(x.dtype))


def clip(x: Float[Tensor, "*b m n"], low: float, high: float) -> Float[Tensor, "*b m n"]:
    """The nearest matrix with all singular values in [low, high] (von Neumann's trace inequality)."""
    return map_singular_values(x, lambda s: s.clamp(low, high))


def cone_projection(x: Float[Tensor, "*b m n"], low: float, high: float) -> Callable[[Tensor], Tensor]:
    """Projection onto the directions that, to first order, keep the singular values of x in [low, high].

    With U, V the singular vectors at one bound, these are the A with sym(U^T A V) negative semidefinite at `high`, and
    positive semidefinite at a `low` > 0. As A -> U^T A V is the adjoint of an isometry, and the two blocks do not
    overlap, the projection subtracts U [sym(U^T g V)]_+ V^T at `high` and U [sym(U^T g V)]_- V^T at `low`.

    A singular value counts as being at a bound from EDGE of the bound away.
    """
    u, s, v = thin_svd(x)
    edge = max(EDGE, 4 * torch.finfo(x.dtype).eps)
    at_high = s >= max((1 - edge) * high, (low + high) / 2)
    at_low = s < min((1 + edge) * low, (low + high) / 2)
    side = at_high.double() - at_low.double()
    block = side.unsqueeze(-1) * (side.unsqueeze(-1) * side.unsqueeze(-2) > 0)

    def project(g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        # of the symmetric part; with the sign of the lower block turned round, both lose their positive part
        outward = block * apply_to_eigenvalues(block * (u.mT @ g.double() @ v), lambda d: d.clamp(min=0))
        return (g - u @ outward @ v.mT).to(g.dtype)

    return project


def violation(x: Float[Tensor, "*b m n"], low: float, high: float) -> Float[Tensor, "*b"]:
    """The largest of s / high - 1, 1 - s / low (where low > 0) and 0, over the singular values s of x."""
    _, s, _ = thin_svd(x)
    off = torch.maximum(s / high - 1, 1 - s / low) if low > 0 else s / high - 1
    worst = off.clamp(min=0).amax(-1) if s.shape[-1] else off.sum(-1)
    return worst.to(working_dtype(x.dtype))
