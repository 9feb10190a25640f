"""Closed forms of products of spheres: every row, or column, is a sphere of its own."""

import pytest
import torch

from modular_manifolds.manifolds import Oblique, Sphere


@pytest.fixture
def matrices() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 5, 3, generator=generator, dtype=torch.float64) for _ in range(2))


def test_is_a_sphere_for_every_row(matrices):
    rows, sphere = Oblique("rows", 1.5), Sphere(1.5)
    x, g = matrices
    x[1, 2] = 0

    def each(a: torch.Tensor) -> torch.Tensor:
        """Every row as a matrix of its own."""
        return a.unsqueeze(-2)

    point = rows.project(x)
    tangent = rows.to_tangent(point, g)
    assert torch.allclose(each(point), sphere.project(each(x)))
    assert torch.allclose(each(tangent), sphere.to_tangent(each(point), each(g)))
    assert torch.allclose(each(rows.retract(point, tangent)), sphere.retract(each(point), each(tangent)))
    assert torch.allclose(rows.violation(g), sphere.violation(each(g)).amax(-1))
    end = rows.exp(point, tangent)
    assert torch.allclose(each(end), sphere.exp(each(point), each(tangent)))
    other = rows.project(g)
    assert torch.allclose(each(rows.log(point, other)), sphere.log(each(point), each(other)))
    assert torch.allclose(rows.distance(point, other), sphere.distance(each(point), each(other)).norm(dim=-1))
    moved = rows.transport(point, tangent, rows.to_tangent(point, other))
    expected = sphere.transport(each(point), each(tangent), sphere.to_tangent(each(point), each(other)))
    assert torch.allclose(each(moved), expected)


def test_rows_and_columns():
    x = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    assert torch.allclose(Oblique("columns", 5.0).project(x), torch.tensor([[3.0, 0.0], [4.0, 5.0]]))
    assert torch.allclose(Oblique("rows").project(x), torch.tensor([[1.0, 0.0], [4 / 20**0.5, 2 / 20**0.5]]))


def test_a_zero_row_becomes_one_of_equal_entries():
    x = torch.zeros(2, 4)
    x[0, 1] = -7.0
    assert torch.equal(Oblique("rows").project(x), torch.tensor([[0.0, -1, 0, 0], [0.5, 0.5, 0.5, 0.5]]))


def test_violation_is_that_of_the_worst_row():
    x = torch.tensor([[1.0, 0.0], [0.0, 0.5], [0.0, 1.25]])
    assert Oblique("rows").violation(x).item() == pytest.approx(0.5)


@pytest.mark.parametrize(("axis", "dimension"), [("rows", 8), ("columns", 9)])
def test_dimension(axis, dimension):
    assert Oblique(axis).dimension((4, 3)) == dimension


@pytest.mark.parametrize("axis", ["row", 0, None])
def test_axis_must_be_rows_or_columns(axis):
    with pytest.raises(ValueError, match=r"'rows' or 'columns', got "):
        Oblique(axis)


def test_opposite_rows_have_a_shortest_way_each():
    x = torch.eye(3, dtype=torch.float64)
    y = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    for oblique in (Oblique("rows"), Oblique("columns")):
        assert oblique.distance(x, y).item() == pytest.approx(2**0.5 * torch.pi)
        assert torch.allclose(oblique.exp(x, oblique.log(x, y)), y, atol=1e-15)


def test_rows_of_one_entry_may_have_no_path():
    x = torch.tensor([[1.0], [1.0]])
    assert Oblique("rows").distance(x, x).item() == 0
    assert Oblique("columns").distance(Oblique("columns").project(x), Oblique("columns").project(-x)) > 3
    with pytest.raises(ValueError, match="different components"):
        Oblique("rows").distance(x, torch.tensor([[1.0], [-1.0]]))
