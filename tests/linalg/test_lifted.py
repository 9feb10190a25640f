"""Formulas computed in a higher dtype than that of their arguments."""

import pytest
import torch

from modular_manifolds.linalg import lifted


@lifted
def difference(x: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Of what is added first."""
    assert x.dtype == y.dtype in (torch.float32, torch.float64)
    return scale * ((x + y) - x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_is_computed_in_the_working_dtype(dtype):
    x, y = torch.tensor([64.0], dtype=dtype), torch.tensor([2**-10], dtype=dtype)
    assert difference(x, y).dtype == dtype
    assert torch.equal(difference(x, y), y)
    assert torch.equal(difference(x=x, y=y, scale=2), 2 * y)


def test_keeps_the_formula_findable():
    assert difference.__name__ == "difference"
    assert difference.__doc__ == "Of what is added first."


def test_refuses_integers():
    with pytest.raises(TypeError, match="floating-point"):
        difference(torch.ones(2, dtype=torch.int32), torch.ones(2))
