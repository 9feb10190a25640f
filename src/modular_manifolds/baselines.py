"""Published solvers of Stiefel x spectral, as measures for the closed form: each takes the place of `Geometry.solver`.

All of them seek the tangent A of largest <G, A> with ||A||_2 <= 1 at an orthonormal W, and all reduce to
A = msign(G + 2 W L) with a symmetric L, the multiplier of the tangency W^T A + A^T W = 0; they differ in L.
Written from the mathematics of the pages cited below. They keep their published step sizes and do not normalise G,
so that they show their published dependence on its scale. None but `OneStep` on square matrices is exact.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, msign_of_length, sym, working_dtype
from modular_manifolds.linalg import msign as exact_msign
from modular_manifolds.lmo.solver import Solver
from modular_manifolds.manifolds import Manifold, Stiefel
from modular_manifolds.norms import Norm, Spectral

_CHECK_EVERY = 10
"""Iterations between two looks, from the host, at whether every matrix has met the tolerance."""


PUBLISHED_LENGTH = 10
"""Quintics of Polar Express in the blog's code, in bfloat16."""


def msign(x: Float[Tensor, "*b m n"], precision: Precision) -> Float[Tensor, "*b m n"]:
    """As published, unless "exact": always so many products, where this library's own takes as few as its gap needs."""
    return exact_msign(x) if precision == "exact" else msign_of_length(x, PUBLISHED_LENGTH)


@dataclass(frozen=True)
class StiefelSpectralSolver(Solver):
    """A solver of Stiefel x spectral, told only how to maximise <G, A> for a tall orthonormal W."""

    def check_pair(self, manifold: Manifold, norm: Norm) -> None:
        """Raise TypeError for any pair but Stiefel x Spectral (or RMSOperator, which is Spectral in other units)."""
        if not isinstance(manifold, Stiefel) or not isinstance(norm, Spectral):
            raise TypeError(
                f"{type(self).__name__} solves Stiefel x Spectral only, got {manifold!r} x {norm!r}; "
                "leave Geometry's solver at None to use the pair's own"
            )

    def __call__(
        self,
        manifold: Manifold,
        norm: Norm,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        precision: Precision = "exact",
    ) -> Float[Tensor, "*b m n"]:
        """The direction A that is to minimise <G, A>; a wide W is solved as its transpose.

        Raises:
            TypeError: as `check_pair`.
        """
        self.check_pair(manifold, norm)
        assert isinstance(manifold, Stiefel)
        assert isinstance(norm, Spectral)
        dtype = working_dtype(torch.promote_types(w.dtype, g.dtype))
        orthonormal, gradient = w.to(dtype) / manifold.radius, g.to(dtype)
        if w.shape[-2] >= w.shape[-1]:
            a = self.maximise(orthonormal, gradient, precision)
        else:
            a = self.maximise(orthonormal.mT, gradient.mT, precision).mT
        return -norm.unit(g.shape) * a.to(g.dtype)

    @abstractmethod
    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """The published solution A of max <G, A>, for m >= n and W^T W = I."""


@dataclass(frozen=True)
class OneStep(StiefelSpectralSolver):
    """msign of the tangent gradient, as in MCSD and SPEL (Yang & Lai 2026, arXiv 2601.21487).

    Exact for square W; otherwise neither tangent nor optimal. One msign.
    """

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """msign(G - W sym(W^T G))."""
        return msign(g - w @ sym(w.mT @ g), precision)


@dataclass(frozen=True)
class DualAscent(StiefelSpectralSolver):
    """Subgradient steps on the dual, min over L of ||G + 2 W L||_nuclear (Bernstein 2025).

    From "Modular Manifolds", Thinking Machines Lab: Connectionism, 26 Sep 2025, with the starting point and the
    linear decay of its code. One msign a step. The step size is absolute: it suits ||G||_2 near 1, hardly moves L
    for much larger gradients and overshoots for much smaller ones. A matrix stops where published, but the host
    looks for an early end only every few steps. With bfloat16 products the tolerance is never met.

    Args:
        step_size: of the first step; step k of K has (1 - k/K) of it.
        steps: at most so many.
        tolerance: on the root mean square of W^T A + A^T W.
    """

    step_size: float = 0.01
    steps: int = 100
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        _require_positive("step_size", self.step_size)
        _require_positive("steps", self.steps)

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """A = msign(G + 2 W L) at the last L, of L <- L - step (W^T A + A^T W)."""
        multiplier = -0.5 * sym(w.mT @ g)
        stopped = torch.zeros(w.shape[:-2], dtype=torch.bool, device=w.device)
        a = g
        for k in range(self.steps):
            a = msign(g + 2 * w @ multiplier, precision)
            violation = 2 * sym(w.mT @ a)
            stopped = stopped | (violation.square().mean((-2, -1)).sqrt() < self.tolerance)
            if k % _CHECK_EVERY == 0 and bool(stopped.all()):
                break
            step = self.step_size * (1 - k / self.steps)
            multiplier = torch.where(stopped[..., None, None], multiplier, multiplier - step * violation)
        return a


@dataclass(frozen=True)
class ADMM(StiefelSpectralSolver):
    """Alternating directions on min ||X||_nuclear subject to X = G + 2 W L (Buchanan 2025).

    From "Speeding Up Manifold Muon with ADMM", sdbuchanan.com/blog/manifold-muon, 20 Oct 2025. Two msigns a step.
    The penalty is absolute: for ||G||_2 far from 1 the published ten steps leave L where it started.

    Args:
        penalty: rho; singular values of X are thresholded at 1 / rho.
        steps: so many.
    """

    penalty: float = 4.0
    steps: int = 10

    def __post_init__(self) -> None:
        _require_positive("penalty", self.penalty)
        _require_positive("steps", self.steps)

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """A = msign(G + 2 W L) at the last L."""
        threshold = 1 / self.penalty
        identity = torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)
        multiplier = -0.5 * sym(w.mT @ g)
        x = g + 2 * w @ multiplier
        scaled_dual = torch.zeros_like(x)
        for _ in range(self.steps):
            multiplier = 0.5 * sym(w.mT @ (x - g + scaled_dual))
            b = g + 2 * w @ multiplier - scaled_dual
            # the projector onto singular values above the threshold: thresholding them without an SVD
            above = 0.5 * (identity + msign(b.mT @ b - threshold**2 * identity, precision))
            x = (b - threshold * msign(b, precision)) @ above
            scaled_dual = x - b
        return msign(g + 2 * w @ multiplier, precision)


@dataclass(frozen=True)
class FixedPoint(StiefelSpectralSolver):
    """Su's iteration on the multiplier (Su 2025, kexue.fm/archives/11221, 8 Aug 2025).

    One msign and one n x n eigendecomposition a step; no step size, hence no dependence on the gradient's scale.
    Converges fast for m >= 4 n, sublinearly nearer to square, and not for rank-deficient G.

    Args:
        steps: so many msigns.
    """

    steps: int = 20

    def __post_init__(self) -> None:
        _require_positive("steps", self.steps)

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """A = msign(Z), Z = G + W X, where Q X + X Q = -2 sym(Q W^T G) and Q = Z^T A."""
        inner = w.mT @ g
        x = -sym(inner)
        z = g + w @ x
        a = msign(z, precision)
        for _ in range(self.steps - 1):
            q = sym(z.mT @ a)
            values, vectors = torch.linalg.eigh(q)
            # where two singular values vanish, so does the right-hand side: any positive divisor will do
            floor = values[..., -1:, None].abs() * torch.finfo(q.dtype).eps + torch.finfo(q.dtype).tiny
            divisor = torch.maximum(values[..., :, None] + values[..., None, :], floor)
            x = -2 * vectors @ ((vectors.mT @ sym(q @ inner) @ vectors) / divisor) @ vectors.mT
            z = g + w @ x
            a = msign(z, precision)
        return a


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
