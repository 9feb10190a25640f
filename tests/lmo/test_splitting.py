"""The splitting solver: certified on every kind of gradient, at every scale; on pairs with a closed form, the same."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds.lmo.splitting import Splitting
from modular_manifolds.manifolds import (
    DGram,
    DoublyStochastic,
    Euclidean,
    FixedRank,
    Oblique,
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
    Norm,
    Nuclear,
    PerHead,
    RMSOperator,
    Schatten,
    Spectral,
)
from tests.lmo.gradients import KINDS, gradient

PAIRS = [
    (Oblique("rows"), Spectral()),
    (Oblique("columns", 2.0), RMSOperator()),
    (DGram(), Spectral()),
    (SpectralBall(), Spectral()),
    (SpectralBand(0.5, 1.0), Spectral()),
    (FixedRank(2), Spectral()),
    (Stiefel(), Schatten(1.3)),
    (Stiefel(2.0), Schatten(4.0)),
    (Stiefel(), Schatten(30.0)),
    (Stiefel(), Nuclear()),
]
SHAPES = [(5, 3), (12, 12), (18, 8), (8, 18)]

every_pair = pytest.mark.parametrize(("manifold", "norm"), PAIRS, ids=str)
every_kind = pytest.mark.parametrize("kind", KINDS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def point(manifold, shape, seed=0):
    """A point, on the boundary where there is one: with singular values at either bound, and some in between."""
    w = manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return manifold.project(2 * w) if manifold.conic else w


@every_pair
@every_kind
@both_dtypes
def test_gap_is_certified_within_the_budget(manifold, norm, kind, dtype):
    geometry = mm.Geometry(manifold, norm)
    # projection onto Schatten's ball takes most of the time
    for shape in SHAPES[::2] if isinstance(norm, Schatten) else SHAPES:
        w = point(manifold, shape)
        g = gradient(kind, w)
        scale = {3: 1e-8, 12: 1.0, 8: 1e8, 18: 1.0}[shape[1]]
        g = g * scale
        solution = Splitting().solve(manifold, norm, w.to(dtype), g.to(dtype))
        assert (solution.bound - solution.value <= 1.001e-3 * solution.bound).all()
        assert solution.iterations < Splitting().iterations
        a = geometry.lmo(w.to(dtype), g.to(dtype))
        certificate = geometry.certificate(w.to(dtype), g.to(dtype), a)
        assert certificate.gap.max() <= 1.1e-3
        assert certificate.norm.max() <= 1 + 1e-5
        assert certificate.tangency.max() <= (1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize(
    ("manifold", "norm"),
    [
        (Stiefel(), Spectral()),
        (Stiefel(0.5), RMSOperator()),
        (Sphere(2.0), Frobenius()),
        (Sphere(), MaxEntry()),
        (Sphere(), Spectral()),
        (Oblique("rows"), MaxRow()),
        (Oblique("columns"), MaxColumn()),
        (Euclidean(), PerHead(Spectral(), 2)),
        (DoublyStochastic(), Spectral()),
    ],
    ids=str,
)
def test_agrees_with_the_table(manifold, norm):
    """Two methods with nothing in common but the manifold's projection."""
    shape = (6, 6) if isinstance(manifold, DoublyStochastic) else (6, 4)
    w = point(manifold, shape)
    g = gradient("gaussian", w)
    table = mm.Geometry(manifold, norm)
    solved = mm.Geometry(manifold, norm, solver=Splitting(tolerance=1e-6, iterations=20_000))
    values = [-(g * geometry.lmo(w, g)).sum() for geometry in (table, solved)]
    assert values[1].item() == pytest.approx(values[0].item(), rel=2e-6)
    assert Splitting(tolerance=1e-6).solve(manifold, norm, w, g).bound >= values[0] * (1 - 1e-12)


def test_memory_saves_iterations():
    manifold, norm = Oblique(), Spectral()
    w = point(manifold, (24, 16))
    g = gradient("nearly normal", w)
    cold = Splitting(check_every=1).solve(manifold, norm, w, g)
    nearby = manifold.retract(w, 1e-3 * cold.a)
    warm = Splitting(check_every=1).solve(manifold, norm, nearby, g, cold.memory)
    again = Splitting(check_every=1).solve(manifold, norm, nearby, g)
    assert warm.iterations < again.iterations / 2


def test_memory_through_geometry():
    geometry = mm.Geometry(Oblique(), Spectral())
    assert geometry.remembers
    w = point(Oblique(), (8, 6))
    g = gradient("gaussian", w)
    memory = torch.zeros_like(w)
    first = geometry.lmo(w, g, memory)
    assert torch.equal(first, geometry.lmo(w, g))
    assert memory.abs().max() > 0
    kept = memory.clone()
    geometry.step(w, g, 0.1, memory)
    assert not torch.equal(memory, kept)
    forgetful = mm.Geometry(Stiefel(), Spectral())
    assert not forgetful.remembers
    with pytest.raises(ValueError, match="nothing to remember"):
        forgetful.lmo(w, g, memory)


def test_batch_elements_do_not_touch_each_other():
    """One that is solved stays as it is while the others go on."""
    w = point(Oblique(), (3, 9, 6))
    g = torch.stack([gradient(kind, w[0]) for kind in ("gaussian", "ill-conditioned", "zero")])
    together = Splitting().solve(Oblique(), Spectral(), w, g)
    alone = [Splitting().solve(Oblique(), Spectral(), w[i], g[i]) for i in range(3)]
    assert torch.allclose(together.a, torch.stack([one.a for one in alone]), atol=1e-12)
    assert torch.equal(together.a[2], torch.zeros_like(w[2]))


def test_empty():
    geometry = mm.Geometry(Oblique(), Spectral())
    for shape in [(0, 3), (3, 0), (0, 4, 3)]:
        x = torch.zeros(shape)
        assert geometry.lmo(x, x).shape == shape


class NoBall(Frobenius):
    """A norm that does not know its ball."""

    to_ball = Norm.to_ball


def test_refuses_what_it_cannot_solve():
    with pytest.raises(TypeError, match="Frobenius metric"):
        mm.Geometry(SymmetricPositiveDefinite(), Spectral(), solver=Splitting())
    with pytest.raises(TypeError, match="to_ball"):
        mm.Geometry(Stiefel(), NoBall(), solver=Splitting())
    with pytest.raises(NotImplementedError, match="to_ball"):
        NoBall().to_ball(torch.zeros(2, 2))


@pytest.mark.parametrize(
    "settings", [{"tolerance": 0.0}, {"iterations": 0}, {"check_every": 0}, {"relaxation": 2.0}, {"relaxation": 0.0}]
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="must"):
        Splitting(**settings)
