"""Geometry: its checks, its certificate, and its description as plain data."""

import json
import pickle

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds.linalg import GAP

GEOMETRIES = [
    mm.Geometry(mm.Stiefel(2.0), mm.Spectral(), precision="fast"),
    mm.Geometry(mm.Stiefel(), mm.RMSOperator(), solver=mm.baselines.DualAscent(step_size=0.1, steps=3)),
    mm.Geometry(mm.Oblique("columns", 3.0), mm.MaxColumn()),
    mm.Geometry(mm.Sphere(), mm.MaxEntry()),
    mm.Geometry(mm.Euclidean(), mm.MaxRow()),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_is_plain_data_and_back(geometry):
    data = json.loads(json.dumps(geometry.to_dict()))
    assert mm.Geometry.from_dict(data) == geometry
    assert pickle.loads(pickle.dumps(geometry)) == geometry
    assert hash(geometry) == hash(mm.Geometry.from_dict(data))


@pytest.mark.parametrize(
    "geometry",
    [
        mm.Geometry(mm.Euclidean(), mm.PerHead(mm.RMSOperator(), 4, "columns")),
        mm.Geometry(
            mm.Euclidean(), mm.PerBlock((mm.Schatten(3), mm.PerHead(mm.Nuclear(), 2)), (3, 4), weights=(1, 0.5))
        ),
        mm.Geometry(mm.Product((mm.Stiefel(2.0), mm.Product(mm.Sphere(), 2)), (3, 4), "columns"), mm.Frobenius()),
        mm.Geometry(mm.Product(mm.Oblique("columns"), 3), mm.Frobenius()),
    ],
    ids=str,
)
def test_what_is_made_of_others_is_plain_data_and_back(geometry):
    plain = geometry.to_dict()
    data = json.loads(json.dumps(plain))
    assert data == plain
    twin = mm.Geometry.from_dict(data)
    assert twin == geometry
    assert repr(twin) == repr(geometry)
    assert hash(twin) == hash(geometry)
    assert mm.Geometry.from_dict(plain) == geometry


@pytest.mark.parametrize("place", ["manifold", "norm"])
def test_an_unknown_type_inside_another_is_named(place):
    data = mm.Geometry(mm.Product((mm.Sphere(), mm.Stiefel()), 2), mm.PerBlock((mm.Spectral(),) * 2, 2)).to_dict()
    field = {"manifold": "manifolds", "norm": "norms"}[place]
    data[place][field][1] = {"type": "Torus"}
    with pytest.raises(ValueError, match=r"0 types of .* are called 'Torus'; known are"):
        mm.Geometry.from_dict(data)


def test_a_manifold_is_no_norm():
    data = GEOMETRIES[0].to_dict()
    with pytest.raises(ValueError, match="0 types of Norm are called 'Stiefel'"):
        mm.Geometry.from_dict(data | {"norm": data["manifold"]})


def test_an_unknown_type_is_named():
    data = GEOMETRIES[0].to_dict() | {"manifold": {"type": "Torus"}}
    with pytest.raises(ValueError, match=r"0 types of Manifold are called 'Torus'; known are .*Euclidean, .*Oblique, "):
        mm.Geometry.from_dict(data)


def test_a_pair_without_lmo_is_refused_at_once():
    with pytest.raises(mm.NoLMOError, match=r"Stiefel\(radius=1.0\) x MaxEntry\(\).*Stiefel x Spectral"):
        mm.Geometry(mm.Stiefel(), mm.MaxEntry())


def test_a_solver_for_another_pair_is_refused_at_once():
    with pytest.raises(TypeError, match="OneStep solves Stiefel x Spectral only"):
        mm.Geometry(mm.Sphere(), mm.Frobenius(), solver=mm.baselines.OneStep())


@pytest.mark.parametrize("scale", [1e-38, 1e38])
def test_gradients_at_the_ends_of_the_range(scale):
    torch.manual_seed(0)
    for geometry in (g for g in GEOMETRIES if g.solver is None):
        w = geometry.manifold.random((30, 4))
        g = torch.randn(30, 4).clamp(-3, 3)
        close = 1e-4 if geometry.precision == "exact" else 5e-2
        assert torch.allclose(geometry.lmo(w, g * scale), geometry.lmo(w, g), atol=close)


def test_one_broken_matrix_does_not_spoil_its_batch():
    torch.manual_seed(0)
    for geometry in (g for g in GEOMETRIES if g.solver is None):
        w = geometry.manifold.random((3, 8, 4))
        g = torch.randn(3, 8, 4)
        whole = geometry.lmo(w, g)
        g[1, 2, 3] = float("nan")
        a = geometry.lmo(w, g)
        certificate = geometry.certificate(w, g, a)
        assert certificate.gap[::2].max() <= GAP[geometry.precision]
        if geometry.precision == "exact":
            assert torch.allclose(a[::2], whole[::2], atol=1e-5)


def test_bad_precision_is_refused():
    with pytest.raises(ValueError, match="'exact', 'balanced', 'fast'"):
        mm.Geometry(mm.Stiefel(), mm.Spectral(), precision="bf16")


@pytest.mark.parametrize("call", ["lmo", "step", "certificate"])
@pytest.mark.parametrize(
    ("w", "g", "error", "match"),
    [
        (torch.eye(3), torch.ones(3, 2), ValueError, r"one shape, got \(3, 3\) and \(3, 2\)"),
        (torch.ones(3), torch.ones(3), ValueError, "matrix"),
        (torch.eye(3), torch.ones(3, 3, dtype=torch.int64), TypeError, "floating-point"),
        (torch.eye(3, dtype=torch.complex64), torch.ones(3, 3), TypeError, "floating-point"),
    ],
)
def test_bad_tensors_are_refused(call, w, g, error, match):
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    extra = {"lmo": (), "step": (0.1,), "certificate": (w,)}[call]
    with pytest.raises(error, match=match):
        getattr(geometry, call)(w, g, *extra)


def test_certificate_sees_what_is_wrong_with_a_direction():
    torch.manual_seed(0)
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    w = mm.Stiefel().random((20, 8), dtype=torch.float64)
    g = torch.randn(20, 8, dtype=torch.float64)
    best = geometry.lmo(w, g)
    certificate = geometry.certificate(w, g, best)
    assert certificate.value.item() == pytest.approx(-(g * best).sum().item())
    assert geometry.certificate(w, g, 0.5 * best).gap.item() == pytest.approx(0.5)
    assert geometry.certificate(w, g, -best).gap.item() == pytest.approx(2)
    assert geometry.certificate(w, g, 2 * best).norm.item() == pytest.approx(2)
    euclidean = mm.Spectral().lmo(g)
    assert geometry.certificate(w, g, euclidean).tangency.item() > 0.1
    assert geometry.certificate(w, g, torch.full_like(w, float("nan"))).gap.isnan()


def test_no_tangent_direction_beats_the_upper_bound():
    torch.manual_seed(0)
    for geometry in (g for g in GEOMETRIES if g.solver is None):
        w = geometry.manifold.random((7, 4), dtype=torch.float64)
        g = torch.randn(7, 4, dtype=torch.float64)
        upper = geometry.certificate(w, g, w).upper_bound
        for _ in range(50):
            a = geometry.manifold.to_tangent(w, torch.randn_like(w))
            assert (g * a).sum() <= upper * geometry.norm(a) * (1 + 1e-12)


def test_low_precision_weights_keep_their_dtype():
    w = mm.Stiefel().random((6, 4)).bfloat16()
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    assert geometry.lmo(w, torch.randn(6, 4).bfloat16()).dtype == torch.bfloat16
    assert geometry.step(w, torch.randn(6, 4).bfloat16(), 0.1).dtype == torch.bfloat16


def test_the_lr_moves_along_the_direction():
    torch.manual_seed(0)
    for geometry in (g for g in GEOMETRIES if g.solver is None):
        w = geometry.manifold.random((9, 4), dtype=torch.float64)
        g = torch.randn(9, 4, dtype=torch.float64)
        a = geometry.lmo(w, g)
        assert ((geometry.step(w, g, 1e-4) - w) / 1e-4 - a).abs().max() < 0.02
        assert torch.allclose(geometry.step(w, g, 0.1), geometry.step(w, g, torch.tensor(0.1)), atol=1e-7)
