"""Degrees of freedom: what a model's manifolds leave to choose."""

import pytest
import torch
from torch import nn

import modular_manifolds as mm

STIEFEL = mm.Geometry(mm.Stiefel(), mm.Spectral())


def parameters(*shapes):
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


def test_a_module_on_one_manifold():
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Linear(6, 6, bias=False))
    freedom = mm.degrees_of_freedom(model, mm.Stiefel())
    assert [(row.name, row.shape, row.parameters, row.dimension) for row in freedom.rows] == [
        ("0.weight", (6, 8), 48, 48 - 21),
        ("1.weight", (6, 6), 36, 15),
    ]
    assert (freedom.parameters, freedom.dimension) == (84, 42)
    assert freedom.removed == pytest.approx(0.5)
    assert freedom.rows[1].removed == pytest.approx(21 / 36)
    assert mm.degrees_of_freedom(model) == freedom


def test_an_optimizer_brings_its_manifolds_and_its_free_groups():
    conv, gain, bias = parameters((2, 3, 4, 5), (7,), (9,))
    groups = [
        {"params": [("bias", bias)], "geometry": None},
        {"params": [("conv", conv)], "geometry": STIEFEL},
        {"params": [("gain", gain)], "geometry": mm.Geometry(mm.Sphere(), mm.Frobenius())},
    ]
    mm.project_(groups)
    expected = {"conv": (120, 120 - 6 * 10), "gain": (7, 6), "bias": (9, 9)}
    for target in (groups, mm.ModularOptimizer(groups, lr=0.1)):
        freedom = mm.degrees_of_freedom(target)
        assert {row.name: (row.parameters, row.dimension) for row in freedom.rows} == expected
        assert {row.name: row.manifold for row in freedom.rows}["bias"] is None
        assert (freedom.parameters, freedom.dimension) == (136, 75)
    assert mm.degrees_of_freedom(groups[0]).removed == 0


def test_it_prints_as_an_aligned_table():
    square, empty = parameters((10, 10), (0, 3))
    printed = str(mm.degrees_of_freedom([("square", square), ("empty", empty)], mm.Stiefel()))
    assert len({len(line) for line in printed.splitlines()}) == 1
    header, first, second, total = (line.split("  ") for line in printed.splitlines())
    assert header[0] == "parameter"
    assert first[-1].strip() == total[-1].strip() == "55.0 %"
    assert second[-1].strip() == "0.0 %"


@pytest.mark.parametrize(
    ("target", "manifold", "error", "match"),
    [
        (lambda p: nn.Linear(2, 2), None, ValueError, "bias has shape"),
        (lambda p: [{"params": [p], "geometry": STIEFEL}], mm.Sphere(), TypeError, "their own geometry"),
        (lambda p: [{"params": [p]}], None, ValueError, "no 'geometry'"),
        (lambda p: [p], mm.SymmetricPositiveDefinite(), ValueError, "square"),
    ],
)
def test_what_cannot_be_counted_is_refused(target, manifold, error, match):
    with pytest.raises(error, match=match):
        mm.degrees_of_freedom(target(parameters((3, 2))[0]), manifold)


def test_random_points_move_in_as_many_directions():
    manifold = mm.Stiefel()
    x = manifold.random((5, 3), dtype=torch.float64)
    tangent = torch.stack([manifold.to_tangent(x, e.reshape(5, 3)).flatten() for e in torch.eye(15).double()])
    assert torch.linalg.matrix_rank(tangent) == mm.degrees_of_freedom(x, manifold).dimension
