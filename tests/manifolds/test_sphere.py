"""Closed forms of the sphere of all matrices of one Frobenius norm."""

import math

import pytest
import torch

from modular_manifolds.manifolds import Sphere


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_project_divides_by_the_length():
    assert torch.allclose(Sphere(2.0).project(torch.tensor([[3.0, 4.0]])), torch.tensor([[1.2, 1.6]]))


def test_project_of_zero_has_equal_entries():
    assert torch.allclose(Sphere(6.0).project(torch.zeros(4, 9)), torch.ones(4, 9))


def test_to_tangent_removes_what_is_along_the_point():
    x, g = torch.tensor([[0.5, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(Sphere(0.5).to_tangent(x, g), torch.tensor([[0.0, 2.0], [3.0, 4.0]]))


def test_retract_turns_by_the_arctangent():
    x, u = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    angle = math.atan2(3, 2)
    assert torch.allclose(Sphere(2.0).retract(x, u), 2 * torch.tensor([[math.cos(angle), math.sin(angle)]]))


def test_random_is_uniform(generator):
    """The square of an entry of a uniform point in d dimensions has mean 1/d, that of the fourth power 3/(d(d+2))."""
    r, d = 2.0, 6
    x = Sphere(r).random((20000, 3, 2), generator=generator, dtype=torch.float64) / r
    assert x.mean(0).abs().max() < 0.01
    covariance = torch.einsum("kij,klm->ijlm", x, x).reshape(d, d) / len(x)
    assert (covariance - torch.eye(d) / d).abs().max() < 0.01
    assert (x.pow(4).mean(0) - 3 / (d * (d + 2))).abs().max() < 0.005


@pytest.mark.parametrize(("factor", "violation"), [(1.0, 0.0), (2.0, 1.0), (0.5, 0.5), (0.0, 1.0)])
def test_violation_is_the_relative_error_of_the_length(factor, violation):
    assert Sphere(5.0).violation(factor * torch.tensor([[3.0, 0.0], [0.0, 4.0]])).item() == pytest.approx(violation)


@pytest.mark.parametrize(("shape", "dimension"), [((4, 3), 11), ((1, 1), 0), ((5, 4, 3), 55)])
def test_dimension(shape, dimension):
    assert Sphere().dimension(shape) == dimension


def test_exp_turns_by_the_length():
    x, u = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert torch.allclose(Sphere(2.0).exp(x, u), 2 * torch.tensor([[math.cos(1.5), math.sin(1.5)]]))
    assert torch.allclose(Sphere(2.0).exp(x, torch.tensor([[0.0, 4 * math.pi]])), x, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-15, 1e-8, 0.1, 3.0])
@pytest.mark.parametrize("from_antipode", [False, True])
def test_distance_and_log_are_accurate_near_and_far(angle, from_antipode):
    """An arc cosine would lose half the digits at either end. Both points are exact here, or as good as."""
    x = torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64)
    y = 3 * torch.tensor([[math.cos(angle), 0.0, math.sin(angle)]], dtype=torch.float64)
    expected = 3 * angle
    if from_antipode:
        y[0, 0] *= -1
        expected = 3 * (math.pi - angle)
    assert Sphere(3.0).distance(x, y).item() == pytest.approx(expected, rel=1e-15, abs=0)
    velocity = Sphere(3.0).log(x, y)
    assert velocity.abs().max().item() == pytest.approx(expected, rel=1e-15, abs=0)
    if angle > 1e-14:  # closer to the antipode, rounding hides which way is shortest
        assert velocity[0, 2].item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_log_of_the_antipode_is_some_shortest_vector(generator, dtype):
    sphere, slack = Sphere(2.0), 4 * torch.finfo(dtype).eps
    x = torch.stack([sphere.random((3, 2), generator=generator), torch.ones(3, 2), torch.eye(3)[:, :2]]).double()
    x = sphere.project(x).to(dtype)
    for opposite in (-x, -x * (1 + slack), (-x).clone().add(slack * x.flip(-1))):
        u = sphere.log(x, opposite).double()
        assert torch.allclose(u.flatten(1).norm(dim=1), torch.tensor(2 * math.pi, dtype=torch.float64), rtol=2 * slack)
        assert (u * x.double()).sum((-2, -1)).abs().max() <= 4 * math.pi * slack * 2
        assert torch.allclose(sphere.exp(x.double(), u), -x.double(), atol=20 * slack)


@pytest.mark.parametrize("gap", [1e-4, 1e-8, 1e-12])
def test_log_near_the_antipode_is_tangent(generator, gap):
    sphere = Sphere(2.0)
    x = sphere.random((20, 4, 3), generator=generator, dtype=torch.float64)
    g = sphere.random((20, 4, 3), generator=generator, dtype=torch.float64)
    u = sphere.log(x, -sphere.exp(x, gap * sphere.to_tangent(x, g)))
    assert (u * x).sum((-2, -1)).abs().max() <= 4 * math.pi * 1e-15


def test_transport_turns_what_is_along_the_way_and_keeps_the_rest():
    x, u = torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([[0.0, math.pi / 4, 0.0]])
    v = torch.tensor([[0.0, 2.0, 3.0]])
    assert torch.allclose(Sphere(0.5).transport(x, u, v), torch.tensor([[-2.0, 0.0, 3.0]]), atol=1e-6)


def test_two_points_that_no_path_joins():
    x = torch.tensor([[[2.0]], [[-2.0]]])
    assert torch.equal(Sphere(2.0).distance(x, x), torch.zeros(2))
    assert torch.equal(Sphere(2.0).log(x, x), torch.zeros(2, 1, 1))
    for question in (Sphere(2.0).distance, Sphere(2.0).log):
        with pytest.raises(ValueError, match="different components"):
            question(x, x.flip(0))
