"""The suite itself: what it runs, what it says, and its measures. What it finds is in test_planted_faults.py."""

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings

from modular_manifolds import Geometry
from modular_manifolds.lmo import Splitting
from modular_manifolds.manifolds import (
    DoublyStochastic,
    FixedRank,
    LowRankFactors,
    Oblique,
    Product,
    SpectralBall,
    SpectralBand,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)
from modular_manifolds.norms import (
    Frobenius,
    MaxColumn,
    MaxEntry,
    MaxRow,
    Nuclear,
    PerBlock,
    RMSOperator,
    Schatten,
    Spectral,
)
from modular_manifolds.testing import (
    TOLERANCES,
    ConformanceError,
    check_geometry,
    check_manifold,
    check_norm,
    dual_bound,
    manifold_checks,
    mirrored,
    norm_checks,
)
from modular_manifolds.testing.matrices import SPECTRA, with_spectrum
from modular_manifolds.testing.shapes import corner_shapes, has_shape, matrix_shapes
from modular_manifolds.testing.slopes import order
from modular_manifolds.testing.strategies import cases
from tests.testing.faulty_geometries import ForgetsTheTangentSpace
from tests.testing.faulty_manifolds import DoubledRotation
from tests.testing.faulty_norms import WrongDual


def test_what_is_right_passes():
    check_manifold(Sphere(0.5), examples=1)
    check_norm(MaxEntry(), examples=1)
    check_geometry(Geometry(Sphere(), MaxEntry()), [(4, 3), (1, 5)], examples=1)


def test_an_error_lists_every_failure():
    with pytest.raises(ConformanceError) as caught:
        check_manifold(DoubledRotation(), [(4, 2)], examples=1)
    failures = caught.value.failures
    assert {"tangent_projection_is_idempotent", "tangent_projection_is_orthogonal"} <= set(failures)
    for name, message in failures.items():
        assert name in manifold_checks
        assert message in str(caught.value)
    assert f"fails {len(failures)} of {len(manifold_checks)} checks" in str(caught.value)


def test_norms_and_geometries_are_listed_alike():
    with pytest.raises(ConformanceError, match="dual_norm_bounds_inner_products"):
        check_norm(WrongDual(), [(4, 2)], [torch.float64], examples=1)
    with pytest.raises(ConformanceError, match="direction_is_feasible"):
        check_geometry(Geometry(Stiefel(), Frobenius(), ForgetsTheTangentSpace()), [(4, 2)], examples=1)


def test_a_message_has_the_case_and_the_numbers():
    with pytest.raises(AssertionError) as caught:
        norm_checks["lmo_attains_the_dual_norm"](
            WrongDual(2.0), (3, 2), torch.float32, 5, spectrum="low rank", scale=1e3
        )
    message = str(caught.value)
    assert message.startswith(
        "lmo_attains_the_dual_norm: WrongDual(factor=2.0), shape (3, 2), float32, low rank, scale 1000, seed 5: "
    )
    measured, allowed = message.split("dual(g) + <g, lmo(g)> is ")[1].split(", allowed is ")
    assert float(measured) > float(allowed) > 0


def test_what_is_skipped_is_not_asked_for():
    names = [name for name in manifold_checks if name != "is_a_value"]
    check_manifold(DoubledRotation(), [(4, 2)], skip=names, examples=1)
    with pytest.raises(ValueError, match="no check called tangents; known are random_points"):
        check_manifold(Sphere(), skip=["tangents"])


def test_exact_checks_are_done_in_float64():
    check = manifold_checks["retraction_starts_along_its_tangent"]
    assert check.exact
    check(Stiefel(), (5, 3), torch.bfloat16)


def test_wrong_questions():
    with pytest.raises(ValueError, match="has no matrices of shape"):
        manifold_checks["is_a_value"](DoublyStochastic(), (3, 2))
    with pytest.raises(ValueError, match="say which `shapes` it has"):
        manifold_checks["is_a_value"].run(FixedRank(40))
    with pytest.raises(TypeError, match="expected a manifold, a norm or a geometry"):
        manifold_checks["is_a_value"].run("Sphere")


def test_an_unexpected_exception_is_a_failure():
    class Raises(Frobenius):
        def norm(self, u):
            raise RuntimeError("no such luck")

    with pytest.raises(AssertionError, match=r"norm_is_positive: .*RuntimeError: no such luck"):
        norm_checks["norm_is_positive"](Raises())


def test_the_library_does_not_need_hypothesis():
    code = "import sys, modular_manifolds; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_hypothesis_it_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import modular_manifolds.testing"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "needs Hypothesis: pip install 'modular-manifolds[testing]'" in ended.stderr


def test_tolerances_widen_with_the_dtype():
    rows = [TOLERANCES[dtype] for dtype in (torch.float64, torch.float32, torch.bfloat16)]
    assert all(a < b for narrow, wide in pairwise(rows) for a, b in zip(narrow, wide, strict=True))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (lambda t: 3 * t, 1),
        (lambda t: 1e-3 * t + 5 * t**2, 1),
        (lambda t: t**2 + t**3, 2),
        (lambda t: 0.2 * t**3, 3),
        (lambda t: 7.0, 0),
        (lambda t: 1e-14, float("inf")),
        (lambda t: t**2 + 1e-13, 2),
        (lambda t: float("nan"), -float("inf")),
    ],
)
def test_order(error, expected):
    assert order(error, 1.0) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("subject", "mirror"),
    [
        (Stiefel(2.0), Stiefel(2.0)),
        (Oblique("rows", 2.0), Oblique("columns", 2.0)),
        (Product(Oblique("columns"), 2), Product(Oblique("rows"), 2, "columns")),
        (PerBlock((MaxRow(), Spectral()), (1, 2), "columns"), PerBlock((MaxColumn(), Spectral()), (1, 2), "rows")),
        (Geometry(Oblique("rows"), MaxRow()), Geometry(Oblique("columns"), MaxColumn())),
        (LowRankFactors(2), None),
        (PerBlock(RMSOperator(), 2), None),
        (Geometry(Stiefel(), RMSOperator()), None),
    ],
    ids=str,
)
def test_mirrored(subject, mirror):
    assert mirrored(subject) == mirror


def test_shapes():
    assert has_shape(Stiefel(), (2, 3, 4))
    assert not has_shape(SymmetricPositiveDefinite(), (2, 3, 4))
    assert not has_shape(PerBlock(Spectral(), 2), (3, 4))
    assert all(m == n for m, n in matrix_shapes(DoublyStochastic()))
    assert all(m == 6 for m, _ in matrix_shapes(PerBlock(Spectral(), (1, 2, 3))))
    assert {(1, 1), (6, 1), (1, 6), (2, 3, 6, 4)} <= set(corner_shapes(Sphere()))
    assert len(corner_shapes(PerBlock(Spectral(), (1, 2, 4)))) >= 3


@settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(cases(FixedRank(2)))
def test_drawn_cases_are_ones_that_the_subject_has(case):
    assert has_shape(FixedRank(2), case["shape"])
    assert case["dtype"] in TOLERANCES
    assert 1e-30 <= case["scale"] <= 1e30
    x = with_spectrum(case["spectrum"], case["shape"], case["seed"])
    assert x.shape == case["shape"]
    assert x.isfinite().all()


def test_spectra():
    rank = {kind: int(torch.linalg.matrix_rank(with_spectrum(kind, (9, 6), 0), rtol=1e-6)) for kind in SPECTRA}
    assert rank == {
        "gaussian": 6,
        "low rank": 2,
        "power law": 6,
        "ill-conditioned": 2,
        "orthogonal": 6,
        "sparse": 5,
        "zero": 0,
    }


def test_dual_bound_of_stiefel_is_the_closed_forms():
    """||skew(G W^T)||_nuclear, by Parrott's theorem."""
    w = Stiefel().random((7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    skew = (g @ w.mT - w @ g.mT) / 2
    expected = torch.linalg.svdvals(skew).sum().item()
    assert dual_bound(Geometry(Stiefel(), Spectral()), w, g).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("norm", [Frobenius(), MaxEntry(), Spectral(), Nuclear(), Schatten(3.0), MaxRow()], ids=str)
def test_dual_bound_is_one(norm):
    """And tight: it is attained, up to 1e-5, by a direction that splitting or a formula finds."""
    geometry = Geometry(Sphere(), norm)
    w = Sphere().random((5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value = -(g * geometry.lmo(w, g)).sum()
    assert -1e-9 <= (dual_bound(geometry, w, g) - value) / value <= 1e-5


@pytest.mark.parametrize("manifold", [SpectralBall(0.5), SpectralBand(0.5, 2.0)], ids=str)
@pytest.mark.parametrize("norm", [Frobenius(), Spectral()], ids=str)
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_dual_bound_at_a_boundary(manifold, norm, factor):
    geometry = Geometry(manifold, norm, Splitting(tolerance=1e-6, iterations=5000))
    w = manifold.random((5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = manifold.project(factor * w)
    g = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value = -(g * geometry.lmo(w, g)).sum()
    assert -1e-9 <= (dual_bound(geometry, w, g) - value) / value <= 1e-5
