"""Stiefel x spectral, exact and in closed form (prior art: Skewon, arXiv 2608.06218).

Every tangent vector at W (m x n, W^T W = r^2 I) is Omega W with a skew Omega of spectral norm ||Omega W|| / r:
Parrott's theorem completes the first block column of Omega, in the basis [W / r, W_perp], without raising its norm, and
the skew part of that completion has no larger norm. So the LMO over tangent vectors is the LMO over skew matrices,

    A = -Omega W / r,    Omega = msign(skew(G W^T)),    -<G, A> = ||skew(G W^T)||_nuclear / r.

skew(G W^T) has rank at most 2n and acts on the span of [W, G] alone. Where m > 2n, everything is done in an orthonormal
basis of that span, in which W and G are 2n x n: the same formula, with nothing to invert when G is rank-deficient.
"""

from math import ceil, pi, sin

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, drop_rounding, msign_skew, nuclear_norm, skew
from modular_manifolds.lmo.table import bounds, directions, landings
from modular_manifolds.manifolds import Stiefel
from modular_manifolds.norms import Spectral

LARGEST_TURN = 0.5
"""Radians turned between two polishes."""


@directions.register(
    Stiefel,
    Spectral,
    cost="1 msign of size min(m, 2n)",
    source="closed form by Parrott's theorem; Skewon, arXiv 2608.06218",
)
def stiefel_spectral(
    manifold: Stiefel, norm: Spectral, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """-msign(skew(g w^T)) w / r: tangent to rounding, however rough the msign."""
    tall_w, tall_g, basis = _reduce(w, g)
    a = _generator(tall_w, tall_g, precision) @ tall_w
    return _restore(a, w, basis) * (-norm.unit(w.shape) / manifold.radius)


@landings.register(Stiefel, Spectral)
def stiefel_spectral_landing(
    manifold: Stiefel,
    norm: Spectral,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    lr: float | Tensor,
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """exp(-t Omega) w, a rotation by the angle t = lr / r, and a Newton-Schulz polish against drift.

    As Omega^3 = -Omega, exp(-t Omega) = I - sin(t) Omega + (1 - cos(t)) Omega^2: no second matrix function. Singular
    values that the msign left between 0 and 1 put w^T w off by at most t^4 / 16, which the polish cubes; so a large
    angle is turned in parts. An lr on an accelerator is not read, and turned in one.
    """
    scale = norm.unit(w.shape) / manifold.radius
    sine: float | Tensor
    versine: float | Tensor
    if isinstance(lr, Tensor) and lr.device.type != "cpu":
        parts = 1
        sine, versine = (lr * scale).sin(), 2 * (lr * scale / 2).sin() ** 2
    else:
        t = float(lr) * scale % (2 * pi)  # a full turn changes nothing
        parts = max(1, ceil(t / LARGEST_TURN))
        sine, versine = sin(t / parts), 2 * sin(t / parts / 2) ** 2
    tall_w, tall_g, basis = _reduce(w, g)
    omega = _generator(tall_w, tall_g, precision)
    moved = tall_w
    for part in range(parts):
        if part > 0:
            moved = manifold.polish(moved)
        turn = omega @ moved
        moved = moved - sine * turn + versine * (omega @ turn)
    # as a correction to w, so that small steps are not rounded away in the change of basis
    return manifold.polish(w + _restore(moved - tall_w, w, basis))


@bounds.register(Stiefel, Spectral)
def stiefel_spectral_bound(
    manifold: Stiefel, norm: Spectral, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """||skew(g w^T)||_nuclear / r, from the singular values of the small matrix in an orthonormal basis of [w, g]."""
    tall_w, tall_g = (w, g) if w.shape[-2] >= w.shape[-1] else (w.mT, g.mT)
    r = torch.linalg.qr(torch.cat([tall_w, tall_g], -1), mode="r").R
    r_w, r_g = r.split(tall_w.shape[-1], -1)
    return nuclear_norm(skew(r_g @ r_w.mT)) * (norm.unit(w.shape) / manifold.radius)


def _reduce(
    w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> tuple[Float[Tensor, "*b k n"], Float[Tensor, "*b k n"], Float[Tensor, "*b m k"] | None]:
    """w and g made tall, in coordinates of a basis of their span where that is the smaller space."""
    if w.shape[-2] < w.shape[-1]:
        w, g = w.mT, g.mT
    m, n = w.shape[-2:]
    if m <= 2 * n:
        return w, g, None
    basis, r = torch.linalg.qr(torch.cat([w, g], -1))
    return r[..., :n], r[..., n:], basis


def _restore(
    x: Float[Tensor, "*b k n"], like: Float[Tensor, "*b m n"], basis: Float[Tensor, "*b m k"] | None
) -> Tensor:
    """Undo `_reduce`: from coordinates back to the shape of `like`."""
    tall = x if basis is None else basis @ x
    return tall if like.shape[-2] >= like.shape[-1] else tall.mT


def _generator(w: Float[Tensor, "*b k n"], g: Float[Tensor, "*b k n"], precision: Precision) -> Float[Tensor, "*b k k"]:
    """Omega = msign(skew(g w^T)), skew to the last bit; zero where g is normal to the manifold."""
    product = g @ w.mT
    return msign_skew(drop_rounding(skew(product), product), precision)
