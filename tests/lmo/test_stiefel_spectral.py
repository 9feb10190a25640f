"""Stiefel x spectral: optimal, tangent and of unit length on every kind of gradient, at every scale and shape."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds.linalg import GAP, largest_entry, msign, skew, sym
from modular_manifolds.lmo.span import Grams, RidgeQR, Span
from tests.lmo.gradients import KINDS, gradient

POLICIES = {
    "float64": (torch.float64, "exact", 1e-9, 1e-12, 1e-12),
    "float32": (torch.float32, "exact", 1e-4, 1e-6, 1e-5),
    "balanced": (torch.float32, "balanced", 1e-2, 1e-6, 1e-2),
    "fast": (torch.float32, "fast", 5e-2, 1e-6, 1e-2),
}
assert {precision: gap for _, precision, gap, *_ in POLICIES.values()} == GAP | {"exact": 1e-4}
SMALL = [(1, 1), (2, 1), (1, 7), (5, 3), (7, 7), (64, 64), (51, 50), (100, 50), (33, 15), (15, 33), (3, 2, 40, 24)]
MEDIUM = [(128, 128), (100, 300), (150, 100)]
LARGE = [(512, 512), (1024, 1024), (3072, 128), (128, 3072), (2048, 512)]


def check(shape: tuple[int, ...], kind: str, policy: str, scale: float = 1.0, radius: float = 1.0) -> None:
    torch.manual_seed(0)
    dtype, precision, gap, tangency, excess = POLICIES[policy]
    w = mm.Stiefel(radius).random(shape, dtype=torch.float64)
    g = (gradient(kind, w) * scale).to(dtype)
    w = w.to(dtype)
    geometry = mm.Geometry(mm.Stiefel(radius), mm.Spectral(), precision=precision)
    a = geometry.lmo(w, g)
    certificate = geometry.certificate(w, g, a)
    assert a.dtype == dtype
    assert a.shape == w.shape
    assert certificate.gap.abs().max() <= gap
    assert certificate.tangency.max() <= tangency
    assert certificate.norm.max() <= 1 + excess
    if kind in ("normal", "w", "zero"):
        assert torch.equal(a, torch.zeros_like(a))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SMALL + MEDIUM, ids=str)
def test_is_optimal_and_tangent(shape, kind, policy):
    check(shape, kind, policy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("shape", [(20, 20), (30, 17), (60, 8), (8, 60)], ids=str)
def test_is_free_of_scale(shape, scale, policy):
    check(shape, "gaussian", policy, scale)
    check(shape, "gaussian", policy, scale, radius=2.5)


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_is_optimal_and_tangent_when_large(shape, kind, policy):
    check(shape, kind, policy)


def dual_optimum(w: torch.Tensor, g: torch.Tensor) -> float:
    """min over symmetric S of ||g + w S||_nuclear by a quasi-Newton method: a bound that knows no closed form."""
    n = w.shape[-1]
    free = torch.zeros(n, n, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [free], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def value() -> torch.Tensor:
        solver.zero_grad()
        loss = torch.linalg.svdvals(g + w @ sym(free)).sum()
        loss.backward()
        return loss

    solver.step(value)
    return float(value().detach())


@pytest.mark.parametrize("shape", [(6, 6), (12, 5), (9, 7), (30, 4)], ids=str)
def test_meets_an_independent_dual_bound(shape):
    torch.manual_seed(1)
    w = mm.Stiefel().random(shape, dtype=torch.float64)
    g = torch.randn(shape, dtype=torch.float64)
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    certificate = geometry.certificate(w, g, geometry.lmo(w, g))
    assert certificate.value.item() == pytest.approx(dual_optimum(w, g), rel=1e-6)
    assert certificate.upper_bound.item() == pytest.approx(dual_optimum(w, g), rel=1e-6)


def test_solves_su_s_hard_example(su_example):
    w, g, optimum = su_example
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    certificate = geometry.certificate(w, g, geometry.lmo(w, g))
    assert certificate.value.item() == pytest.approx(optimum, rel=1e-10)
    assert dual_optimum(w, g) == pytest.approx(optimum, rel=1e-6)
    assert certificate.gap.abs().item() <= 1e-12
    assert certificate.tangency.item() <= 1e-12


def test_both_forms_agree_where_either_applies():
    """Past m = 2n the problem is reduced to the span of w and g; the full m x m form must give the same."""
    torch.manual_seed(0)
    w = mm.Stiefel().random((40, 9), dtype=torch.float64)
    g = torch.randn(40, 9, dtype=torch.float64)
    full = -msign(skew(g @ w.mT)) @ w
    assert (mm.Geometry(mm.Stiefel(), mm.Spectral()).lmo(w, g) - full).abs().max() < 1e-10
    for frame in (Span.of(w, g), Grams.of(w, g, "exact"), RidgeQR.of(w, g)):
        assert frame is not None
        assert frame.generator.shape == (18, 18)
        assert torch.equal(frame.generator, -frame.generator.mT)
        assert (frame.act(frame.columns(msign(frame.generator))) + full).abs().max() < 1e-7


def test_grams_guess_the_inverse_of_their_generator():
    torch.manual_seed(0)
    w = mm.Stiefel().random((3, 400, 90), dtype=torch.float64)
    grams = Grams.of(w, torch.randn(3, 400, 90, dtype=torch.float64), "exact")
    assert grams is not None
    values = torch.linalg.svdvals(grams.generator)
    assert torch.allclose(grams.inverse_squares(), values.pow(-2).sum(-1), rtol=0.3)


@pytest.mark.parametrize("kind", ["low rank", "aligned", "power law", "ill-conditioned"])
def test_grams_are_not_used_where_their_rounding_would_show(kind):
    torch.manual_seed(0)
    w = mm.Stiefel().random((200, 64), dtype=torch.float64)
    g = gradient(kind, w).float()
    assert Grams.of(w.float(), g, "exact") is None


@pytest.mark.parametrize("kind", ["low rank", "aligned", "power law", "ill-conditioned", "nearly normal", "zero"])
def test_a_ridge_twice_finds_the_span_of_any_gradient(kind):
    """All of b but its rounding lies in the span of the basis, of which no combination is longer than 1."""
    torch.manual_seed(0)
    exact = mm.Stiefel().random((200, 64), dtype=torch.float64)
    w, g = exact.float(), gradient(kind, exact).float()
    g = g / largest_entry(g)
    frame = RidgeQR.of(w, g)
    basis, b = frame.basis.double(), g.double() - exact @ (exact.mT @ g.double())
    assert torch.linalg.matrix_norm(basis, 2) < 1 + 1e-6
    assert torch.linalg.matrix_norm(exact.mT @ basis, 2) < 1e-4  # of columns that are rounding themselves
    rounding = 8 * torch.finfo(torch.float32).eps * 64**0.5 * torch.linalg.matrix_norm(g.double())
    assert torch.linalg.matrix_norm(b - basis @ (basis.mT @ b)) <= rounding


@pytest.mark.parametrize("precision", GAP)
def test_wide_is_the_transpose_of_tall_and_batched_is_looped(precision):
    torch.manual_seed(0)
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral(), precision=precision)
    w = mm.Stiefel().random((5, 30, 12), dtype=torch.float32)
    g = torch.randn(5, 30, 12)
    a = geometry.lmo(w, g)
    close = 1e-5 if precision == "exact" else 0.1
    assert (geometry.lmo(w.mT, g.mT).mT - a).abs().max() < close
    assert (torch.stack([geometry.lmo(*pair) for pair in zip(w, g, strict=True)]) - a).abs().max() < close


def test_rms_operator_is_the_spectral_norm_in_other_units():
    torch.manual_seed(0)
    for m, n in [(20, 5), (5, 20)]:
        w = mm.Stiefel(2.0).random((m, n), dtype=torch.float64)
        g = torch.randn(m, n, dtype=torch.float64)
        a = mm.Geometry(mm.Stiefel(2.0), mm.Spectral()).lmo(w, g)
        rms = mm.Geometry(mm.Stiefel(2.0), mm.RMSOperator())
        assert torch.allclose(rms.lmo(w, g), a * (m / n) ** 0.5)
        certificate = rms.certificate(w, g, rms.lmo(w, g))
        assert certificate.gap.abs() < 1e-12
        assert certificate.norm.item() == pytest.approx(1)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["gaussian", "low rank", "nearly normal", "zero"])
@pytest.mark.parametrize("shape", [(1, 1), (20, 20), (21, 20), (50, 8), (8, 50), (3, 9, 4)], ids=str)
@pytest.mark.parametrize("lr", [1e-4, 0.1, 1.0, torch.tensor(0.1)], ids=str)
def test_lands_on_the_manifold_where_the_exponential_does(shape, kind, policy, lr):
    torch.manual_seed(0)
    dtype, precision, *_ = POLICIES[policy]
    manifold = mm.Stiefel(1.5)
    geometry = mm.Geometry(manifold, mm.Spectral(), precision=precision)
    w = manifold.random(shape, dtype=torch.float64)
    g = gradient(kind, w).to(dtype)
    w = w.to(dtype)
    landed = geometry.step(w, g, lr)
    assert manifold.violation(landed).max() < 20 * torch.finfo(dtype).eps
    if precision == "exact":
        tall_w, tall_g = (w, g) if w.shape[-2] >= w.shape[-1] else (w.mT, g.mT)
        product = (tall_g @ tall_w.mT).double()
        omega = torch.linalg.matrix_exp(-float(lr) / 1.5 * msign_of_skew(product)) @ tall_w.double()
        expected = omega if w.shape[-2] >= w.shape[-1] else omega.mT
        assert (landed.double() - expected).abs().max() < (1e-8 if dtype == torch.float64 else 2e-4)


def msign_of_skew(product: torch.Tensor) -> torch.Tensor:
    """U V^T of skew(product) by singular vectors, dropping those of rounding size."""
    u, s, vt = torch.linalg.svd(skew(product))
    kept = s > 1e-5 * s.amax(-1, keepdim=True).clamp(min=1e-300)
    return (u * kept.unsqueeze(-2)) @ vt


@pytest.mark.parametrize("lr", [0.7, 1.6, 3.2, 6.3, 50.0, torch.tensor(3.2)], ids=str)
@pytest.mark.parametrize("shape", [(24, 16), (128, 16), (16, 128)], ids=str)
def test_large_angles_land_too(shape, lr):
    """An ill-conditioned gradient leaves some singular values of Omega between 0 and 1."""
    torch.manual_seed(0)
    for policy in ("float32", "balanced", "fast"):
        dtype, precision, *_ = POLICIES[policy]
        w = mm.Stiefel().random(shape, dtype=torch.float64)
        g = gradient("ill-conditioned", w).to(dtype)
        landed = mm.Geometry(mm.Stiefel(), mm.Spectral(), precision=precision).step(w.to(dtype), g, lr)
        assert mm.Stiefel().violation(landed) < 1e-5


def test_small_steps_are_not_lost_to_rounding():
    torch.manual_seed(0)
    w = mm.Stiefel().random((64, 32), dtype=torch.float32)
    g = torch.randn(64, 32)
    for precision in GAP:
        geometry = mm.Geometry(mm.Stiefel(), mm.Spectral(), precision=precision)
        moved = geometry.step(w, g, 1e-5) - w
        expected = 1e-5 * geometry.lmo(w, g)
        assert (moved - expected).norm() / expected.norm() < 2e-2


@pytest.mark.parametrize("drift", [1e-4, 1e-2])
def test_drift_costs_no_tangency_and_is_polished_away(drift):
    torch.manual_seed(0)
    manifold = mm.Stiefel()
    geometry = mm.Geometry(manifold, mm.Spectral())
    w = manifold.random((40, 12), dtype=torch.float64) + drift * torch.randn(40, 12, dtype=torch.float64)
    g = torch.randn(40, 12, dtype=torch.float64)
    a = geometry.lmo(w, g)
    assert sym(w.mT @ a).abs().max() < 1e-14
    assert manifold.violation(geometry.step(w, g, 0.1)) < 10 * manifold.violation(w) ** 3 + 1e-14
