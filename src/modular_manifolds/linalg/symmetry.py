"""Symmetric and skew-symmetric parts."""

from jaxtyping import Float
from torch import Tensor


def sym(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(x + x^T) / 2."""
    return (x + _transposed(x)).div_(2)


def skew(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(x - x^T) / 2, skew-symmetric to the last bit."""
    return (x - _transposed(x)).div_(2)


def _transposed(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """x^T; on a CPU with its rows in one piece each, which makes adding it to x some times faster."""
    if x.device.type != "cpu" or x.numel() == 0:
        return x.mT
    n = x.shape[-1]
    return x.reshape(-1, n).mT.contiguous().reshape(n, *x.shape[:-1]).movedim(0, -2)
