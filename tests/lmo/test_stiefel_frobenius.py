"""The step of Stiefel x Frobenius is the one that its direction and its retraction make."""

import pytest
import torch

import modular_manifolds as mm
from tests.lmo.gradients import KINDS, gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (20, 20), (50, 8), (8, 50), (3, 9, 4)], ids=str)
@pytest.mark.parametrize("lr", [1e-4, 0.3, torch.tensor(0.3)], ids=str)
def test_steps_along_its_direction(shape, kind, lr):
    torch.manual_seed(0)
    manifold = mm.Stiefel(1.5)
    geometry = mm.Geometry(manifold, mm.Frobenius())
    w = manifold.random(shape, dtype=torch.float64)
    g = gradient(kind, w)
    stepped = geometry.step(w, g, lr)
    assert torch.allclose(stepped, manifold.retract(w, lr * geometry.lmo(w, g)), atol=1e-12)
    assert manifold.violation(stepped).max() < 1e-14
    if kind in ("normal", "w", "zero"):
        assert torch.allclose(stepped, w, atol=1e-15)
