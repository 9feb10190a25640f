"""Steps that are taken as if there were no boundary."""

import pytest
import torch

import modular_manifolds as mm


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (3, 6, 6)], ids=str)
def test_is_the_free_step_inside_and_its_projection_at_the_boundary(shape):
    torch.manual_seed(0)
    ball = mm.SpectralBall(2.0)
    geometry = mm.Geometry(ball, mm.Spectral(), solver=mm.ProjectedStep())
    free = mm.Geometry(mm.Euclidean(), mm.Spectral())
    g = torch.randn(shape)
    inside, edge = 0.5 * mm.Stiefel().random(shape), 2 * mm.Stiefel().random(shape)
    assert torch.equal(geometry.lmo(inside, g), free.lmo(inside, g))
    assert torch.allclose(geometry.step(inside, g, 0.1), free.step(inside, g, 0.1), atol=1e-6)
    landed = geometry.step(edge, g, 0.1)
    assert ball.violation(landed).max() < 1e-6
    assert torch.allclose(landed, ball.project(free.step(edge, g, 0.1)), atol=1e-6)
    assert (landed - free.step(edge, g, 0.1)).abs().max() > 1e-2


def test_refuses_manifolds_without_a_boundary():
    with pytest.raises(TypeError, match="boundary"):
        mm.Geometry(mm.Stiefel(), mm.Spectral(), solver=mm.ProjectedStep())


def test_survives_plain_data():
    geometry = mm.Geometry(mm.SpectralBall(), mm.Spectral(), solver=mm.ProjectedStep())
    assert mm.Geometry.from_dict(geometry.to_dict()) == geometry
