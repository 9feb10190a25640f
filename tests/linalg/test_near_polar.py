"""The series for nearly orthonormal matrices takes as few terms as it can, and is at least as exact as msign."""

import sys

import pytest
import torch

from modular_manifolds.linalg import msign, near_polar

module = sys.modules["modular_manifolds.linalg.near_polar"]
"""The function of the same name hides it."""


def nearly_orthonormal(m, n, size, kind, dtype=torch.float64):
    """An orthonormal matrix plus a tangent one of spectral norm `size`."""
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(m, n, generator=generator, dtype=torch.float64))[0]
    g = torch.randn(m, n, generator=generator, dtype=torch.float64)
    match kind:
        case "rank one":
            g = torch.outer(g[:, 0], g[0])
        case "one column":
            g[:, 1:] = 0
    u = g - q @ (q.mT @ g + g.mT @ q) / 2
    return (q + size * u / torch.linalg.matrix_norm(u, 2)).to(dtype)


def polar(x):
    u, _, vt = torch.linalg.svd(x.double(), full_matrices=False)
    return u @ vt


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", ["generic", "rank one", "one column"])
@pytest.mark.parametrize(("m", "n"), [(4, 4), (96, 64), (128, 128)])
def test_it_is_the_polar_factor_to_rounding(m, n, kind, dtype):
    eps = torch.finfo(dtype).eps
    for size in torch.logspace(-6, 1, 40).tolist():
        x = nearly_orthonormal(m, n, size, kind, dtype)
        y, expected = near_polar(x).double(), polar(x)
        gram = y.mT @ y - torch.eye(n, dtype=torch.float64)
        assert gram.abs().max() <= 12 * eps
        assert gram.norm() <= 8 * eps * n**0.5
        error = (y - expected).norm() / (eps * n**0.5)
        if dtype == torch.float32 and size < 0.3:
            assert error <= 2
        assert error <= 40  # in float64 that is the error of the SVD
        assert error <= (msign(x).double() - expected).norm() / (eps * n**0.5) + 4


@pytest.mark.parametrize(
    ("size", "products"),
    [(1e-5, 1), (0.02, 2), (0.1, 3), (0.5, 8)],
    ids=["two terms", "three", "five", "several rounds"],
)
def test_it_takes_no_more_products_than_the_size_asks_for(monkeypatch, size, products):
    counted = []
    product = module.symmetric_product
    monkeypatch.setattr(module, "symmetric_product", lambda x, y: counted.append("higher") or product(x, y))
    monkeypatch.setattr(
        module, "gram_error", lambda x: counted.append("gram") or product(x, x) - torch.eye(x.shape[-1])
    )
    monkeypatch.setattr(module, "msign", lambda x: pytest.fail("not needed"))
    near_polar(nearly_orthonormal(64, 32, size, "generic", torch.float32))
    assert len(counted) <= products


def test_what_is_far_from_orthonormal_goes_to_msign():
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for scale in (1e-30, 1.0, 1e30):
        assert torch.equal(near_polar(scale * x), msign(scale * x))
    broken = x.clone()
    broken[0, 0] = torch.nan
    assert near_polar(broken).isnan().any()


def test_empty_ones_and_batches():
    for shape in [(0, 4, 3), (3, 0), (0, 0), (2, 3, 0)]:
        assert near_polar(torch.zeros(shape)).shape == shape
    x = torch.stack([nearly_orthonormal(6, 4, size, "generic") for size in (1e-6, 0.01, 0.3)])
    assert torch.allclose(near_polar(x), torch.stack([polar(one) for one in x]), atol=1e-14)
    assert torch.allclose(near_polar(x.reshape(3, 1, 6, 4)), near_polar(x).unsqueeze(1), atol=1e-14)
