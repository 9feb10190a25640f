"""project_ puts weights on their manifolds, all or none."""

import pytest
import torch
from torch import nn

import modular_manifolds as mm

SPHERE = mm.Geometry(mm.Sphere(3.0), mm.Frobenius())


def test_a_module_goes_to_the_stiefel_manifold_or_where_it_is_told():
    model = nn.Sequential(nn.Linear(5, 9, bias=False), nn.Linear(9, 9, bias=False))
    mm.project_(model)
    assert all(mm.Stiefel().violation(p.detach()) < 1e-6 for p in model.parameters())
    mm.project_(list(model.named_parameters()), mm.Sphere(2.0))
    assert all(p.norm().item() == pytest.approx(2) for p in model.parameters())
    mm.project_(model[0].weight, mm.Sphere(5.0))
    assert model[0].weight.norm().item() == pytest.approx(5)


def test_groups_and_optimizers_bring_their_own():
    matrix, vector, free = (nn.Parameter(torch.randn(*s)) for s in [(4, 3), (5,), (2,)])
    kept = free.detach().clone()
    groups = [
        {"params": [("matrix", matrix)], "geometry": mm.Geometry(mm.Stiefel(), mm.Spectral())},
        {"params": vector, "geometry": SPHERE},
        {"params": [free], "geometry": None},
    ]
    mm.project_(groups)
    assert mm.Stiefel().violation(matrix.detach()) < 1e-6
    assert vector.norm().item() == pytest.approx(3)
    assert torch.equal(free, kept)
    with torch.no_grad():
        vector.mul_(2)
    mm.project_(mm.ModularOptimizer([{"params": [nn.Parameter(torch.eye(2))], "geometry": groups[0]["geometry"]}]))
    mm.project_(groups[1])
    assert vector.norm().item() == pytest.approx(3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_zero_initialised_layers_get_a_point_too(dtype):
    p = nn.Parameter(torch.zeros(6, 4, dtype=dtype))
    mm.project_([p])
    assert p.dtype == dtype
    assert mm.Stiefel().violation(p.detach()) < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    ("target", "manifold", "error", "match"),
    [
        (lambda p: [p, ("bias", nn.Parameter(torch.zeros(3)))], None, ValueError, "bias has shape"),
        (lambda p: [p, ("w", nn.Parameter(torch.full((2, 2), float("nan"))))], None, ValueError, "w of shape.*NaN"),
        (lambda p: [p, ("i", torch.ones(2, 2, dtype=torch.int64))], None, TypeError, "int64"),
        (lambda p: iter([p]), None, TypeError, "iterator"),
        (lambda p: [{"params": iter([p]), "geometry": SPHERE}], None, TypeError, "iterator"),
        (lambda p: [{"params": [p]}], None, ValueError, "group 0 has no 'geometry'"),
        (lambda p: [{"params": [p], "geometry": SPHERE}], mm.Sphere(), TypeError, "their own geometry"),
    ],
)
def test_bad_targets_are_refused_with_nothing_changed(target, manifold, error, match):
    p = ("first", nn.Parameter(torch.randn(3, 3)))
    before = p[1].detach().clone()
    with pytest.raises(error, match=match):
        mm.project_(target(p), manifold)
    assert torch.equal(p[1], before)
