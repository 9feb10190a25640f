"""The largest singular value."""

import pytest
import torch

from modular_manifolds.linalg import spectral_norm


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (30, 30), (3, 40, 15), (15, 40)])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    ("dtype", "precision", "error"),
    [(torch.float64, "exact", 1e-12), (torch.float32, "exact", 1e-6), (torch.float32, "fast", 1e-2)],
)
def test_agrees_with_the_singular_values(shape, scale, dtype, precision, error):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    expected = torch.linalg.svdvals(x)[..., 0]
    result = spectral_norm((x * scale).to(dtype), precision).double() / scale
    assert ((result - expected) / expected).abs().max() < error


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_survives_equal_singular_values_where_svd_does_not(precision):
    q = torch.linalg.qr(torch.randn(200, 50)).Q
    assert spectral_norm(q, precision).item() == pytest.approx(1, abs=1e-5 if precision == "exact" else 1e-2)


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_zero_and_empty(precision):
    assert spectral_norm(torch.zeros(4, 3), precision) == 0
    assert spectral_norm(torch.zeros(0, 4, 3), precision).shape == (0,)
    assert spectral_norm(torch.zeros(2, 0, 3), precision).tolist() == [0, 0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="matrix"):
        spectral_norm(torch.ones(3))
    with pytest.raises(ValueError, match="head"):
        spectral_norm(torch.full((2, 2), float("inf")), check=True, name="head")
    with pytest.raises(TypeError, match="floating-point"):
        spectral_norm(torch.ones(2, 2, dtype=torch.int32))


def test_falls_back_on_float64_where_lapack_fails_in_float32(monkeypatch):
    """As its divide and conquer does on some sparse gradients."""
    solve = torch.linalg.eigvalsh

    def fails(x):
        if x.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return solve(x)

    monkeypatch.setattr(torch.linalg, "eigvalsh", fails)
    x = torch.randn(20, 10)
    assert spectral_norm(x).item() == pytest.approx(torch.linalg.matrix_norm(x, 2).item(), rel=1e-5)
