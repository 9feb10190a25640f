"""Exponential and logarithm between skew-symmetric matrices and rotations (orthogonal, of determinant 1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.symmetric_function import eigenpairs
from modular_manifolds.linalg.symmetry import skew, sym
from modular_manifolds.linalg.thin_svd import thin_svd

RESOLVED = 1e-13
"""Planes whose turn is so close to a half turn that rounding hides its sense are turned either way."""


def rotation_exp(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """exp(a) of a skew-symmetric a, orthogonal to rounding whatever its length: V exp(i d) V^* of -i a = V d V^*.

    Not torch.linalg.matrix_exp, one of whose polynomials is wrong in the tenth digit for a single matrix of moderate
    length (pytorch/pytorch issue 196592). In float64 inside; NaN where a is not finite.
    """
    exact = skew(a.double())
    broken = ~torch.isfinite(exact).all(-1).all(-1)[..., None, None]
    angles, vectors = torch.linalg.eigh(-1j * exact.masked_fill(broken, 0.0))
    turned = (vectors * torch.polar(torch.ones_like(angles), angles).unsqueeze(-2)) @ vectors.mH
    return turned.real.masked_fill(broken, torch.nan).to(a.dtype)


def rotation_log(q: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """The shortest skew-symmetric a with exp(a) = q (one of them, where q turns some plane by a half turn).

    In a plane that q turns by t in [0, pi], a = t J with J the quarter turn of that plane, sym(q) = cos(t) and
    skew(q) = sin(t) J. The usual a = skew(q) (t / sin t), a function of sym(q), loses digits as t nears pi. So obtuse
    turns are divided by w = -cos t into a = skew(q) (t - pi w) / sin(t) + pi w J, with a bounded factor, and J is the
    polar factor of w skew(q). In float64 inside; NaN where q is not finite.
    """
    cosines, basis = eigenpairs(sym(q.double()))
    cosines = cosines.clamp(-1, 1)
    sines = basis.mT @ skew(q.double()) @ basis
    acute = torch.acos(cosines.abs())
    inverse_sinc = 1 / torch.sinc(acute / torch.pi)
    factor = torch.where(cosines < 0, torch.pi * torch.tan(acute / 2) - inverse_sinc, inverse_sinc)
    obtuse = (-cosines).clamp(min=0).sqrt()
    weight = obtuse.unsqueeze(-1) * obtuse.unsqueeze(-2)
    angle = skew(sines * factor.unsqueeze(-2)) + torch.pi * weight * _quarter_turns(weight * skew(sines), weight)
    return skew(basis @ angle @ basis.mT).to(q.dtype)


def _quarter_turns(x: Float[Tensor, "*b n n"], weight: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """The polar factor of a skew x, completed by quarter turns wherever `weight` has more rank than x."""
    u, s, v = thin_svd(x)
    pairs = x.shape[-1] // 2
    kept = (s[..., 1::2] > RESOLVED).repeat_interleave(2, -1)  # singular values of skew matrices come in pairs
    turns = skew((u[..., : 2 * pairs] * kept.unsqueeze(-2)) @ v[..., : 2 * pairs].mT)
    for _ in range(2):  # rounding, large next to a small singular value, cancels in the skew part but for its square
        turns = skew(turns + turns @ (turns @ turns + _identity(x)) / 2)
    missing, plane = eigenpairs(weight * (turns @ turns + _identity(x)))
    first, second = (plane.flip(-1)[..., i : 2 * pairs : 2] for i in (0, 1))
    half_turns = missing.flip(-1)[..., 1::2].unsqueeze(-2) > 0.5
    return turns + 2 * skew(second @ (first * half_turns).mT)


def _identity(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "n n"]:
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
