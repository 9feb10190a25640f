"""Symmetric and skew-symmetric parts."""

from jaxtyping import Float
from torch import Tensor


def sym(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(x + x^T) / 2."""
    return (x + x.mT) / 2


def skew(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(x - x^T) / 2, skew-symmetric to the last bit."""
    return (x - x.mT) / 2
