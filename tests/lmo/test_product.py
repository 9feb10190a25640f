"""Products of manifolds x the largest of the blocks' norms."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds import Geometry, NoLMOError
from modular_manifolds.manifolds import LowRankFactors, Oblique, Product, Stiefel
from modular_manifolds.norms import MaxEntry, MaxRow, PerBlock, PerHead, Spectral


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_block_is_solved_as_if_it_were_alone():
    manifold = Product((Stiefel(), Oblique("rows", 2.0)), (4, 3))
    geometry = Geometry(manifold, PerBlock((Spectral(), MaxRow()), (4, 3), weights=(2.0, 0.5)))
    w, g = manifold.random((5, 7, 3), dtype=torch.float64), normal((5, 7, 3))
    a = geometry.lmo(w, g)
    upper = Geometry(Stiefel(), Spectral())
    lower = Geometry(Oblique("rows", 2.0), MaxRow())
    assert torch.allclose(a[:, :4], upper.lmo(w[:, :4], g[:, :4]) / 2, atol=1e-14)
    assert torch.allclose(a[:, 4:], lower.lmo(w[:, 4:], g[:, 4:]) / 0.5, atol=1e-14)
    stepped = geometry.step(w, g, 0.1)
    assert torch.allclose(stepped[:, :4], upper.step(w[:, :4], g[:, :4], 0.05), atol=1e-14)
    assert torch.allclose(stepped[:, 4:], lower.step(w[:, 4:], g[:, 4:], 0.2), atol=1e-14)
    certificate = geometry.certificate(w, g, a)
    assert certificate.gap.max() <= 1e-12
    assert (certificate.norm - 1).abs().max() <= 1e-12


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_heads_are_one_batch(axis):
    """As many calls for twelve heads as for one, and the same result as head by head."""
    manifold = Product(Stiefel(), 12, axis)
    geometry = Geometry(manifold, PerHead(Spectral(), 12, axis))
    shape = (48, 20) if axis == "rows" else (20, 48)
    w, g = manifold.random(shape, dtype=torch.float64), normal(shape)
    a = geometry.lmo(w, g)
    along = 0 if axis == "rows" else 1
    heads = zip(w.split(4, along), g.split(4, along), a.split(4, along), strict=True)
    alone = Geometry(Stiefel(), Spectral())
    for w_head, g_head, a_head in heads:
        assert torch.allclose(alone.lmo(w_head, g_head), a_head, atol=1e-14)


def test_a_block_with_a_tiny_gradient_moves_as_fast():
    manifold = Product(Stiefel(), 2)
    geometry = Geometry(manifold, PerBlock(Spectral(), 2))
    w, g = manifold.random((8, 3)), normal((8, 3)).float()
    small = torch.cat([g[:4], 1e-25 * g[4:]])
    assert torch.allclose(geometry.lmo(w, small), geometry.lmo(w, g), atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (PerBlock(Spectral(), 3), "cut both in the same places"),
        (PerBlock(Spectral(), (4, 3), "columns"), "cut both in the same places"),
        (PerBlock((Spectral(), MaxEntry()), (4, 3)), "no LMO for Oblique"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_construction(norm, said):
    with pytest.raises(NoLMOError, match=said):
        Geometry(Product((Stiefel(), Oblique()), (4, 3)), norm)


def test_low_rank_factors_move_within_the_split_budget():
    """||dA B^T|| and ||A dB^T|| are at most 1/2 each, and no pair within that budget does better."""
    manifold = LowRankFactors(5)
    geometry = Geometry(manifold, PerBlock(Spectral(), (5, 7)))
    w, g = manifold.random((12, 3), dtype=torch.float64), normal((12, 3))
    a = geometry.lmo(w, g)
    for moved, still in ((a[:5], w[5:]), (a[5:], w[:5])):
        assert torch.linalg.matrix_norm(moved @ still.mT, 2).item() == pytest.approx(0.5, rel=1e-10)
    value = -(g * a).sum()
    for seed in range(50):
        u = a + (0.1 if seed % 2 else 10.0) * normal((12, 3), seed)
        scale = 2 * max(torch.linalg.matrix_norm(u[:5] @ w[5:].mT, 2), torch.linalg.matrix_norm(u[5:] @ w[:5].mT, 2))
        assert -(g * u).sum() / scale <= value * (1 + 1e-12)


def test_low_rank_factors_start_as_adapters_do():
    """With B = 0 only B moves, as the other factor's gradient is zero and its budget is not."""
    manifold = LowRankFactors(5)
    geometry = Geometry(manifold, PerBlock(Spectral(), (5, 7)))
    w = torch.cat([normal((5, 3)), torch.zeros(7, 3, dtype=torch.float64)])
    full = normal((5, 7), 3)
    g = torch.cat([full @ w[5:], full.mT @ w[:5]])
    a = geometry.lmo(w, g)
    assert torch.equal(a[:5], torch.zeros_like(a[:5]))
    assert torch.linalg.matrix_norm(w[:5] @ a[5:].mT, 2).item() == pytest.approx(0.5, rel=1e-10)
    with pytest.raises(NoLMOError, match="cut between the factors"):
        Geometry(manifold, PerBlock(Spectral(), 2))
    with pytest.raises(NoLMOError, match="cut between the factors"):
        Geometry(manifold, PerBlock(MaxEntry(), (5, 7)))


def test_round_trip_through_plain_data():
    geometry = mm.Geometry(Product((Stiefel(), Oblique()), (4, 3)), PerBlock((Spectral(), MaxRow()), (4, 3)))
    assert mm.Geometry.from_dict(geometry.to_dict()) == geometry
