"""Stiefel x spectral, exact and in closed form (prior art: Skewon, arXiv 2608.06218).

Every tangent vector at W (m x n, W^T W = r^2 I) is Omega W with a skew Omega of spectral norm ||Omega W|| / r:
Parrott's theorem completes the first block column of Omega, in the basis [W / r, W_perp], without raising its norm, and
the skew part of that completion has no larger norm. So the LMO over tangent vectors is the LMO over skew matrices,

    A = -Omega W / r,    Omega = msign(skew(G W^T)),    -<G, A> = ||skew(G W^T)||_nuclear / r.

skew(G W^T) has rank at most 2n and acts on the span of [W, G] alone. Where m > 2n, everything is done in an orthonormal
basis of that span, in which W and G are 2n x n: the same formula, see `Frame`.
"""

from collections.abc import Callable
from math import ceil, pi, sin

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    GAP,
    Precision,
    add_product,
    drop_rounding,
    looks_orthonormal,
    near_polar,
    nearly_msign_skew,
    nuclear_norm,
    readable,
    recorded,
)
from modular_manifolds.lmo.span import RIDGE_SHARE, Frame, Grams, RidgeQR, Span, Whole, pieces
from modular_manifolds.lmo.table import bounds, directions, landings
from modular_manifolds.manifolds import Stiefel
from modular_manifolds.norms import Spectral

LARGEST_TURN = 0.5
"""Radians turned at once: what that leaves of w^T w = I is small enough to be polished away."""

SMALL = 96**2
"""Entries of all n x n matrices of a batch, below which products are not worth saving."""

TINY = 32
"""Columns up to which Householder's QR is faster than Grams."""

ALONE = 128
"""Columns from which on the number of products depends on the matrix, and batches gain nothing."""

NARROW = 128
"""Columns up to which w^T w costs no more than a look at it."""


ROUGH_SINE = 1e-3
"""Of a turn by which rounding to bfloat16 surely leaves w^T w off: here by seven times what the look lets pass."""


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
    scale = -norm.unit(w.shape)
    if w.shape[-2] < w.shape[-1]:
        return _turn(manifold, w.mT, g.mT, precision).mT * scale
    return _turn(manifold, w, g, precision) * scale


@landings.register(Stiefel, Spectral)
def stiefel_spectral_landing(
    manifold: Stiefel,
    norm: Spectral,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    lr: float | Tensor,
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """exp(-t Omega) w, a rotation by the angle t = lr / r, and a Newton-Schulz polish where it is needed.

    As Omega^3 = -Omega, exp(-t Omega) = I - sin(t) Omega + (1 - cos(t)) Omega^2: no second matrix function. Singular
    values that the msign left between 0 and 1 put w^T w off by at most t^4 / 16, which the polish cubes; so a large
    angle is turned in parts. On accelerators nothing is read, neither lr, which is turned in one, nor w^T w, which is
    polished in every step.
    """
    scale = norm.unit(w.shape) / manifold.radius
    if w.shape[-2] < w.shape[-1]:
        return _turned(manifold, w.mT, g.mT, lr, scale, precision).mT
    return _turned(manifold, w, g, lr, scale, precision)


@bounds.register(Stiefel, Spectral)
def stiefel_spectral_bound(
    manifold: Stiefel, norm: Spectral, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """||skew(g w^T)||_nuclear / r, from the singular values of the small matrix in an orthonormal basis of [w, g]."""
    tall_w, tall_g = (w, g) if w.shape[-2] >= w.shape[-1] else (w.mT, g.mT)
    return nuclear_norm(Span.of(_unit(manifold, tall_w), tall_g).generator) * norm.unit(w.shape)


def _turn(
    manifold: Stiefel, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """Omega w / r for a tall w."""
    frame, omega = _solve(_unit(manifold, w), g, precision)
    turn = frame.act(frame.columns(omega).to(w.dtype))
    # these know w^T w = I only as well as w does
    return manifold.to_tangent(w, turn) if isinstance(frame, Grams | RidgeQR) else turn


def _turned(
    manifold: Stiefel,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    lr: float | Tensor,
    scale: float,
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """A tall w turned by the angle lr scale.

    Large matrices one by one where `exact` takes as many products as each of them needs: which others are in the batch
    makes no difference then, and a batch may be cut up among several ranks.
    """
    if precision == "exact" and w.shape[-1] >= ALONE and w.ndim > 2 and len(w) > 0 and readable(w):
        return torch.stack([_turned(manifold, *pair, lr, scale, precision) for pair in zip(w, g, strict=True)])
    sine, versine, parts = angle(lr, scale)
    frame, omega = _solve(_unit(manifold, w), g, precision, large=parts > 1)  # the last that needs g, but for its frame
    # a correction to w, so that small steps are not rounded away
    change = rotation(frame, omega, sine, versine, parts).to(w.dtype)
    del omega
    new = frame.act(change, onto=w, scale=manifold.radius, space=g)
    surely_off = frame.rough and readable(w) and sine > ROUGH_SINE
    del frame, change
    if not readable(new) or (parts == 1 and _small(w)):  # where a polish costs no more than a look
        return manifold.polish(new)
    unit = _unit(manifold, new)
    if w.shape[-1] > NARROW and not surely_off and looks_orthonormal(unit, 4 * torch.finfo(w.dtype).eps):
        return new
    polar = near_polar(unit, scratch=precision != "exact")
    return polar if manifold.radius == 1 else polar * manifold.radius


def angle(lr: float | Tensor, scale: float) -> tuple[float | Tensor, float | Tensor, int]:
    """sin(t) and 1 - cos(t) of the angle that is turned at once, t = lr scale / parts, and in how many parts."""
    if isinstance(lr, Tensor) and lr.device.type != "cpu":
        return (lr * scale).sin(), 2 * (lr * scale / 2).sin() ** 2, 1
    t = float(lr) * scale % (2 * pi)  # a full turn changes nothing
    parts = max(1, ceil(t / LARGEST_TURN))
    return sin(t / parts), 2 * sin(t / parts / 2) ** 2, parts


def rotation(
    frame: Frame, omega: Float[Tensor, "*b k k"], sine: float | Tensor, versine: float | Tensor, parts: int
) -> Float[Tensor, "*b k j"]:
    """exp(-t Omega) - I = -sin(t) Omega + (1 - cos(t)) Omega^2, `parts` times over: of it, the frame's columns.

    I + Omega^2 is nearly zero, so that little is lost by computing it in bfloat16, where Omega is.
    """
    columns = omega if parts > 1 else frame.columns(omega)
    eye = torch.zeros_like(columns)
    eye.diagonal(dim1=-2, dim2=-1).fill_(1)
    rest = add_product(eye, omega, columns, space=eye)
    del eye
    rest = rest.float() if rest.dtype == torch.bfloat16 else rest
    change = _weighted_difference(rest, versine, columns, sine)
    change.diagonal(dim1=-2, dim2=-1).sub_(versine)
    if parts == 1:
        return change
    eye = torch.eye(columns.shape[-1], dtype=change.dtype, device=change.device)
    total = turn = eye + change
    for _ in range(1, parts):
        total = Stiefel().polish(turn @ total)
    return frame.columns(total - eye)


def _weighted_difference(
    x: Float[Tensor, "*b k j"], a: float | Tensor, y: Float[Tensor, "*b k j"], b: float | Tensor
) -> Float[Tensor, "*b k j"]:
    """a x - b y in x's memory; on a CPU some rows at a time, as a y in bfloat16 is lifted as it is."""
    if not readable(x) or recorded(x) or recorded(y):
        return x.mul_(a).sub_(y * b)
    parts = pieces(x)
    for new, old in zip(parts, torch.split(y, parts[0].shape[-2], -2), strict=True):
        new.mul_(a).sub_(old * b)
    return x


def _solve(
    w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision, large: bool = False
) -> tuple[Frame, Float[Tensor, "*b k k"]]:
    """A frame for a tall orthonormal w, and Omega in it: skew to the last bit, zero where g is normal.

    Omega is in bfloat16 where that is all its precision. For a large turn the frame is orthonormal to rounding.
    """
    frame: Frame
    gap = GAP[precision]
    if _small(w) and readable(w):  # where a product costs no more than a look at a number
        precision = "exact"
        large |= w.shape[-1] <= TINY
    if w.shape[-2] <= 2 * w.shape[-1]:
        frame = Whole(w)
        if precision != "exact":
            # what w and g lose by that is of the size of g, also where its tangent part is small
            size = torch.linalg.matrix_norm(g)
            omega = nearly_msign_skew(frame.generator(g, torch.bfloat16), precision, size)
            if omega is None and w.dtype == torch.float32:
                omega = nearly_msign_skew(drop_rounding(frame.generator(g, w.dtype), g), precision)
            if omega is not None:
                return Whole(w, rough=w.dtype == torch.float32), omega
        return frame, _exactly(drop_rounding(frame.generator(g, w.dtype), g), gap)
    if large or (precision == "exact" and w.dtype == torch.float64):  # float64 is the reference
        frame = Span.of(w, g)
        return frame, _exactly(drop_rounding(frame.generator, g), gap)
    # accelerators do not tell whether Grams are exact
    grams = Grams.of(w, g, precision) if precision != "exact" or readable(w) else None
    if grams is not None:
        omega = omega_of(grams, lambda: drop_rounding(grams.generator, g), precision, gap)
        return grams._replace(rough=omega.dtype == torch.bfloat16), omega
    basis = RidgeQR.of(w, g)
    omega = omega_of(basis, lambda: drop_rounding(basis.generator, g), precision, gap)
    return basis._replace(rough=omega.dtype == torch.bfloat16), omega


def omega_of(
    frame: Grams | RidgeQR, generator: Callable[[], Float[Tensor, "*b k k"]], precision: Precision, gap: float
) -> Float[Tensor, "*b k k"]:
    """Omega in the frame, from what makes its generator, which is used up each time."""
    if precision != "exact":
        guess, spent = (frame.inverse_squares(), RIDGE_SHARE) if isinstance(frame, Grams) else (None, 0.0)
        # made again rather than kept: in float32 it would be the largest of all that a step needs
        for dtype in (torch.bfloat16, torch.float32):
            omega = nearly_msign_skew(generator().to(dtype), precision, inverse_squares=guess, spent=spent)
            if omega is not None:
                return omega
    return _exactly(generator(), gap)


def _exactly(generator: Float[Tensor, "*b k k"], gap: float) -> Float[Tensor, "*b k k"]:
    """Omega in the generator's dtype, with as many products as this gap takes."""
    omega = nearly_msign_skew(generator, "exact", gap=gap)
    assert omega is not None, "only bfloat16 can be too coarse"
    return omega


def _small(w: Float[Tensor, "*b m n"]) -> bool:
    return w.shape[-1] ** 2 * w.shape[:-2].numel() < SMALL


def _unit(manifold: Stiefel, w: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    return w if manifold.radius == 1 else w / manifold.radius
