"""The largest singular value."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.checks import check_matrix
from modular_manifolds.linalg.precision import Precision
from modular_manifolds.linalg.scaling import largest_entry
from modular_manifolds.linalg.symmetric_function import eigenvalues


def spectral_norm(
    x: Float[Tensor, "*b m n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b"]:
    """Largest singular value of every matrix.

    Args:
        x: matrices in the last two axes, of any scale.
        precision: `exact` takes the largest eigenvalue of the smaller Gram matrix; `fast` squares that matrix six
            times in bfloat16 and returns the Rayleigh quotient of what is left, to about 1e-2.
        check: raise if x has a NaN or an Inf (reads one flag on the host).
        name: what to call x in that error.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x is no matrix, the precision is unknown, or x is not finite and `check` is on.
    """
    dtype = check_matrix(x, precision, check, name)
    if x.numel() == 0:
        return x.new_zeros(x.shape[:-2])
    if x.shape[-2] < x.shape[-1]:
        x = x.mT
    scale = largest_entry(x.to(dtype))
    unit = x.to(dtype) / scale
    # the symmetric eigensolver, as svdvals in float32 fails on matrices with many equal singular values
    top = eigenvalues(unit.mT @ unit)[..., -1] if precision == "exact" else _rayleigh(unit.bfloat16())
    return (top.clamp(min=0).sqrt() * scale[..., 0, 0]).to(x.dtype)


def _rayleigh(x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    gram = x.mT @ x
    power = gram
    for _ in range(6):
        length = torch.linalg.matrix_norm(power.float(), keepdim=True)
        power = (power / length.masked_fill(length == 0, 1.0)).bfloat16()
        power = power @ power
    trace = power.float().diagonal(dim1=-2, dim2=-1).sum(-1)
    return (power.float() * gram.float()).sum((-2, -1)) / trace.masked_fill(trace == 0, 1.0)
