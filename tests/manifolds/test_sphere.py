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
