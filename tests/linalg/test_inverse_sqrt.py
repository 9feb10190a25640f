"""The pseudo-inverse square root."""

import pytest
import torch

from modular_manifolds.linalg import inverse_sqrt


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    ("dtype", "precision", "error"),
    [(torch.float64, "exact", 1e-11), (torch.float32, "exact", 1e-5), (torch.float32, "fast", 3e-2)],
)
def test_inverts_the_square_root(scale, dtype, precision, error):
    torch.manual_seed(0)
    x = torch.randn(2, 20, 40, dtype=torch.float64)
    x = x @ x.mT
    root = inverse_sqrt((x * scale).to(dtype), precision).double() * scale**0.5
    assert (root @ x @ root - torch.eye(20)).abs().max() < error


@pytest.mark.parametrize(("precision", "error"), [("exact", 1e-4), ("fast", 3e-2)])
def test_is_zero_on_the_null_space(precision, error):
    torch.manual_seed(0)
    factor = torch.randn(30, 4)
    x = factor @ factor.mT
    values, vectors = torch.linalg.eigh(x.double())
    expected = (vectors[:, -4:] * values[-4:].rsqrt()) @ vectors[:, -4:].mT
    assert (inverse_sqrt(x, precision).double() - expected).abs().max() < error * expected.abs().max()


def test_zero_empty_and_scalar():
    assert torch.equal(inverse_sqrt(torch.zeros(3, 3)), torch.zeros(3, 3))
    assert inverse_sqrt(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
    assert inverse_sqrt(torch.zeros(0, 0)).shape == (0, 0)
    assert inverse_sqrt(torch.tensor([[4.0]])).item() == pytest.approx(0.5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="square"):
        inverse_sqrt(torch.ones(3, 2))
    with pytest.raises(ValueError, match="gram"):
        inverse_sqrt(torch.full((2, 2), float("nan")), check=True, name="gram")
    with pytest.raises(TypeError, match="floating-point"):
        inverse_sqrt(torch.ones(2, 2, dtype=torch.int32))


def test_nan_stays_in_its_own_matrix():
    x = torch.eye(3).repeat(2, 1, 1)
    x[0, 0, 0] = float("nan")
    root = inverse_sqrt(x)
    assert root[0].isnan().all()
    assert torch.allclose(root[1], torch.eye(3))
