"""A soft constraint: a weight that its own parametrization draws towards a manifold."""

import math
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from modular_manifolds.linalg import length, normalise, working_dtype
from modular_manifolds.manifolds import Manifold
from modular_manifolds.projection import as_matrix
from modular_manifolds.projection_derivative import projection_derivative

Module = TypeVar("Module", bound=nn.Module)


def soften(module: Module, name: str, manifold: Manifold, kappa: float) -> Module:
    """Constrain a module's tensor softly: from now on `module.name` is the raw tensor W drawn towards the manifold,

        W_eff = (1 - a) W + a Pi(W),   a = 1 / (1 + kappa dist(W, M)^2),

    where Pi(W) = manifold.project(W) is the nearest point and dist the Frobenius distance to it. The last two axes are
    the matrix, and every matrix of a batch has its own a; a vector counts as one row.

    The present value becomes W, which stays the parameter that optimizers step. It is called
    `module.parametrizations.name.original`, in state dicts as well. Assigning to `module.name` sets W_eff instead, see
    `SoftConstraint`. `torch.nn.utils.parametrize.remove_parametrizations` undoes it.

    Args:
        module: what has the tensor.
        name: of the parameter, e.g. "weight".
        manifold: where to draw it.
        kappa: from 0, the hard constraint W_eff = Pi(W), to inf, the free W_eff = W. At dist = kappa^(-1/2) the pull
            a is 1/2; nearer, W_eff is within kappa dist^3 of the manifold.

    Returns:
        The module.

    Raises:
        ValueError: kappa is negative or NaN, or the manifold has no points of the tensor's shape.
        TypeError: the tensor is not of a real floating-point dtype.
        NoClosedFormError: in a backward pass, where the manifold's projection has no known derivative.
    """
    constraint = SoftConstraint(manifold, kappa)
    parametrize.register_parametrization(module, name, constraint)
    constraint.invert = True
    return module


class SoftConstraint(nn.Module):
    """The map from W to W_eff that `soften` registers; arguments as there."""

    def __init__(self, manifold: Manifold, kappa: float) -> None:
        super().__init__()
        if not kappa >= 0:
            raise ValueError(f"kappa must be 0 (hard) or positive (inf: free), got {kappa}")
        self.manifold = manifold
        self.kappa = float(kappa)
        self.invert = False  # registration asks for an inverse of the present value, which is to be the raw one

    def forward(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """W_eff."""
        if math.isinf(self.kappa):
            return w.clone()
        matrix = as_matrix(w)
        lifted = matrix.to(working_dtype(w.dtype))
        soft: Tensor = _Soften.apply(lifted, self.manifold, self.kappa)  # type: ignore[no-untyped-call]
        return soft.to(w.dtype).reshape(w.shape)

    @torch.no_grad()
    def right_inverse(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """A raw W whose W_eff is x: x itself on the manifold, elsewhere a point further along the normal through x.

        Raises:
            ValueError: there is none on that normal: kappa is 0 and x off the manifold, or x is so far inside that the
                normal ends, where several points of the manifold are equally near, before it gets there.
        """
        if not self.invert or math.isinf(self.kappa):
            return x.clone()
        wide = as_matrix(x).double()
        nearest = self.manifold.project(wide)
        normal = wide - nearest
        distance = length(normal)
        rounding = 8 * torch.finfo(x.dtype).eps * length(wide)
        raw = torch.where(distance <= rounding, wide, nearest + normal * _stretch(distance, self.kappa))
        missed = length(self(raw) - wide)
        if not bool((missed <= rounding.maximum(1e-6 * length(wide))).all()):
            raise ValueError(
                f"no raw weight of shape {tuple(x.shape)} was found that kappa {self.kappa:g} turns into this one: it "
                f"is {float(distance.max()):.3g} off {self.manifold}. Assign a point nearer to the manifold, or set "
                "the raw weight, parametrizations.<name>.original"
            )
        return raw.to(x.dtype).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.manifold}, kappa={self.kappa:g}"


class _Soften(torch.autograd.Function):
    """W_eff of W, and its derivative.

    With N = W - Pi(W) = d n: W_eff = W - a N, and d(dist^2) = 2 <N, dW> by the envelope theorem, so that

        dW_eff = (1 - a) dW + a dPi + 2 a (1 - a) n <n, dW>.

    Every term is self-adjoint, as that of dPi is: the same map takes gradients back.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, manifold: Manifold, kappa: float) -> Tensor:
        p = manifold.project(w)
        a = 1 / (1 + (math.sqrt(kappa) * length(w - p)) ** 2)
        ctx.manifold = manifold
        ctx.save_for_backward(w, p, a)
        return (p + (1 - a) * (w - p)).contiguous()  # a wide p is a transposed one

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        w, p, a = ctx.saved_tensors
        n = normalise(w - p)
        along = 2 * a * (1 - a) * (n * g).sum((-2, -1), keepdim=True)
        return (1 - a) * g + a * projection_derivative(ctx.manifold, w, p, g) + along * n, None, None


def _stretch(distance: Float[Tensor, "*b 1 1"], kappa: float) -> Float[Tensor, "*b 1 1"]:
    """How many times further from the manifold W is than W_eff, which is at `distance`.

    The root y > 1 of y^3 - y^2 = c = 1 / (kappa distance^2), as W_eff is at kappa d^3 / (1 + kappa d^2), by Newton's
    method: 1 + c^(1/3) is above the root, from where the cubic is convex.
    """
    c = 1 / (math.sqrt(kappa) * distance) ** 2
    y = 1 + c ** (1 / 3)
    for _ in range(8):
        y = y - (y**3 - y**2 - c) / (3 * y**2 - 2 * y)
    return y
