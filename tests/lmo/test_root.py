"""Spheres x any norm: the search in one variable."""

import pytest
import torch

import modular_manifolds as mm
import modular_manifolds.norms.singular_values as spectral_norms
from modular_manifolds.linalg import msign
from modular_manifolds.manifolds import SpectralSphere, Sphere
from modular_manifolds.norms import MaxColumn, MaxRow, Nuclear, RMSOperator, Schatten, Spectral
from tests.lmo.gradients import KINDS, gradient

SPHERES = [Sphere(), Sphere(3.0), SpectralSphere(), SpectralSphere(0.5)]
SHAPES = [(1, 1), (6, 1), (1, 6), (5, 3), (20, 20), (40, 24), (24, 40), (96, 64), (2, 3, 12, 8)]
GAP = {torch.float64: 1e-6, torch.float32: 4e-6}

every_sphere = pytest.mark.parametrize("manifold", SPHERES, ids=str)


@pytest.fixture
def signs(monkeypatch):
    """Counts matrix signs."""
    calls = []

    def counting(x, *args, **kwargs):
        calls.append(x.shape)
        return msign(x, *args, **kwargs)

    monkeypatch.setattr(spectral_norms, "msign", counting)
    return calls


@every_sphere
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", GAP, ids=str)
def test_spectral_gap_and_number_of_signs(manifold, kind, dtype, signs):
    """Eight signs, but for ill-conditioned gradients and matrices of one or two columns' worth of singular values."""
    for shape in SHAPES:
        for norm in (Spectral(), RMSOperator()):
            geometry = mm.Geometry(manifold, norm)
            w = manifold.random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            g = gradient(kind, w).to(dtype)
            w = w.to(dtype)
            signs.clear()
            a = geometry.lmo(w, g)
            hard = kind == "ill-conditioned" or min(shape[-2:]) < 16
            assert len(signs) <= (12 if hard else 8)
            certificate = geometry.certificate(w, g, a)
            assert certificate.gap.max() <= GAP[dtype]
            assert certificate.tangency.max() <= 1e-7 if dtype == torch.float32 else 1e-13
            assert certificate.norm.max() <= 1 + (1e-6 if dtype == torch.float32 else 1e-12)


@every_sphere
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_is_free_of_scale(manifold, scale):
    geometry = mm.Geometry(manifold, Spectral())
    w = manifold.random((12, 8), dtype=torch.float32)
    g = gradient("gaussian", w.double()).float()
    assert torch.allclose(geometry.lmo(w, g * scale), geometry.lmo(w, g), atol=1e-4)


@every_sphere
@pytest.mark.parametrize("norm", [Nuclear(), Schatten(1.5), Schatten(6.0), MaxRow(), MaxColumn()], ids=str)
@pytest.mark.parametrize("shape", [(6, 1), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)], ids=str)
def test_other_norms(manifold, norm, shape):
    geometry = mm.Geometry(manifold, norm)
    for kind in KINDS:
        w = manifold.random(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        g = gradient(kind, w)
        certificate = geometry.certificate(w, g, geometry.lmo(w, g))
        assert certificate.gap.max() <= 1e-5
        assert certificate.norm.max() <= 1 + 1e-12


def test_what_is_known_by_hand():
    """On the sphere of 1 x n matrices the spectral norm is the Frobenius norm, and the direction the projection."""
    w = Sphere().random((1, 7), dtype=torch.float64)
    g = gradient("gaussian", w)
    a = mm.Geometry(Sphere(), Spectral()).lmo(w, g)
    assert torch.allclose(a, mm.Geometry(Sphere(), mm.Frobenius()).lmo(w, g), atol=1e-9)


def test_kink_is_met_exactly():
    """G + lambda Theta loses rank at the optimum: no single matrix sign there is tangent, but a mean of two is."""
    w = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    g = torch.tensor([[1.0, 0.0], [0.0, 0.3]], dtype=torch.float64)
    geometry = mm.Geometry(Sphere(), Spectral())
    a = geometry.lmo(w, g)
    assert torch.allclose(a, torch.tensor([[-1.0, 0.0], [0.0, 0.0]], dtype=torch.float64), atol=1e-12)
    assert geometry.certificate(w, g, a).gap <= 1e-12
