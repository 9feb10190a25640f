"""What every manifold promises, checked on all of them. A new manifold joins MANIFOLDS and `constraint`."""

import dataclasses
import pickle

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Sphere, Stiefel

MANIFOLDS = [
    Euclidean(),
    Sphere(),
    Sphere(2.5),
    Oblique("rows"),
    Oblique("columns", 0.3),
    Stiefel(),
    Stiefel(3.0),
]
SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
AWKWARD = ["generic", "zero", "rank one", "zero row", "zero column", "ill-conditioned"]
"""What `awkward` makes."""
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
ON = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 1.5e-2}
"""Largest violation that counts as being on the manifold."""

every_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ON, ids=str)
every_radius = pytest.mark.parametrize("manifold", [m for m in MANIFOLDS if hasattr(m, "radius")], ids=str)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def point(manifold: Manifold, shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tangent(manifold: Manifold, x: Tensor, seed: int = 1) -> Tensor:
    return manifold.to_tangent(x, normal(tuple(x.shape), seed, x.dtype))


def awkward(kind: str, shape: tuple[int, ...]) -> Tensor:
    """A matrix from which the nearest point is hard to find, or not unique."""
    x = normal(shape, 7)
    match kind:
        case "zero":
            return torch.zeros_like(x)
        case "rank one":
            return x[..., :1] * x[..., :1, :]
        case "zero row":
            x[..., -1, :] = 0
        case "zero column":
            x[..., -1] = 0
        case "ill-conditioned":
            return x * torch.logspace(0, -17, x.shape[-1], dtype=x.dtype)
    return x


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum((-2, -1))


def radius(manifold: Manifold) -> float:
    return getattr(manifold, "radius", 1.0)


def isolated(manifold: Manifold, shape: tuple[int, ...]) -> bool:
    """Whether the manifold is a set of isolated points, such as {-1, 1}."""
    return manifold.dimension(shape) == 0


def constraint(manifold: Manifold, x: Tensor) -> Tensor:
    """A function that is constant on the manifold, written without its code."""
    match manifold:
        case Euclidean():
            return 0 * x
        case Sphere():
            return x.pow(2).sum((-2, -1))
        case Oblique(axis="rows"):
            return x.pow(2).sum(-1)
        case Oblique(axis="columns"):
            return x.pow(2).sum(-2)
        case Stiefel():
            return x.mT @ x if x.shape[-2] >= x.shape[-1] else x @ x.mT
    raise NotImplementedError(f"write down the constraint of {manifold}")


def transposed(manifold: Manifold) -> Manifold:
    """The manifold of the transposed matrices."""
    if isinstance(manifold, Oblique):
        return Oblique("columns" if manifold.axis == "rows" else "rows", manifold.radius)
    return manifold


@every_manifold
@every_shape
@every_dtype
def test_random_points_are_on_the_manifold(manifold, shape, dtype):
    x = point(manifold, shape, dtype=dtype)
    assert x.dtype == dtype
    assert x.shape == shape
    assert manifold.violation(x).max() <= ON[dtype]
    assert torch.equal(x, point(manifold, shape, dtype=dtype))
    others = [point(manifold, shape, seed, dtype) for seed in range(1, 12)]
    assert any(not torch.equal(x, other) for other in others)


@every_manifold
def test_random_points_by_default(manifold):
    torch.manual_seed(0)
    first = manifold.random((5, 3))
    assert first.dtype == torch.get_default_dtype()
    assert not torch.equal(first, manifold.random([5, 3]))
    torch.manual_seed(0)
    assert torch.equal(first, manifold.random(torch.Size([5, 3])))
    assert manifold.random((5, 3), device="meta").device.type == "meta"


@every_manifold
@every_shape
def test_constraint_holds_at_random_points(manifold, shape):
    values = [constraint(manifold, point(manifold, shape, seed)) for seed in (0, 1)]
    assert torch.allclose(*values, atol=1e-12 * radius(manifold) ** 2)


@every_manifold
@every_shape
@every_dtype
def test_project_lands_on_the_manifold_and_stays(manifold, shape, dtype):
    x = manifold.project(3 * normal(shape, dtype=dtype))
    assert x.dtype == dtype
    assert manifold.violation(x).max() <= ON[dtype]
    again = manifold.project(x)
    assert (again - x).abs().max() <= ON[dtype] * radius(manifold)


@every_radius
@every_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_project_reaches_the_manifold_from_anywhere(manifold, shape, dtype):
    for x in [awkward(kind, shape).to(dtype) for kind in AWKWARD]:
        for scale in (1e-30, 1.0, 1e30):
            assert manifold.violation(manifold.project(x * scale)).max() <= ON[dtype]


@every_manifold
@every_shape
def test_project_is_nearest(manifold, shape):
    anywhere = [point(manifold, shape, seed) for seed in range(30)]
    for x in [awkward(kind, shape) for kind in AWKWARD]:
        y = manifold.project(x)
        nearby = [manifold.retract(y, t * tangent(manifold, y, seed)) for t in (1e-3, 0.1) for seed in range(15)]
        distances = (x - torch.stack([*anywhere, *nearby])).flatten(-2).norm(dim=-1)
        distance = (x - y).flatten(-2).norm(dim=-1)
        assert (distances >= distance * (1 - 1e-12)).all()


@every_manifold
@every_shape
def test_to_tangent_is_an_orthogonal_projector(manifold, shape):
    x = point(manifold, shape)
    g, h = normal(shape, 1), normal(shape, 2)
    pg, ph = manifold.to_tangent(x, g), manifold.to_tangent(x, h)
    assert torch.allclose(manifold.to_tangent(x, pg), pg, atol=1e-13)
    assert torch.allclose(manifold.to_tangent(x, 2 * g - 3 * h), 2 * pg - 3 * ph, atol=1e-13)
    assert torch.allclose(inner(pg, h), inner(g, ph), atol=1e-13)


@every_manifold
@every_shape
def test_constraint_does_not_change_along_tangents(manifold, shape):
    x = point(manifold, shape)
    v = tangent(manifold, x)
    _, slope = torch.autograd.functional.jvp(lambda y: constraint(manifold, y), x, v)
    assert slope.abs().max() <= 1e-13 * max(1.0, radius(manifold))


@every_manifold
@every_shape
def test_riemannian_gradient_acts_on_tangents_as_the_gradient(manifold, shape):
    x = point(manifold, shape)
    g, v = normal(shape, 2), tangent(manifold, x)
    assert torch.allclose(inner(manifold.to_tangent(x, g), v), inner(g, v), atol=1e-13)


@every_manifold
@every_shape
def test_dimension_is_the_rank_of_the_tangent_projector(manifold, shape):
    x = point(manifold, shape[-2:])
    m, n = x.shape
    basis = torch.eye(m * n, dtype=x.dtype).reshape(m * n, m, n)
    projector = manifold.to_tangent(x.expand(m * n, m, n), basis).reshape(m * n, m * n)
    values = torch.linalg.eigvalsh(projector)
    rank = int((values > 0.5).sum())
    assert torch.minimum(values.abs(), (values - 1).abs()).max() < 1e-12
    assert manifold.dimension((m, n)) == rank
    assert manifold.dimension((3, 2, m, n)) == 6 * rank


@every_manifold
def test_dimension_of_what_is_no_matrix(manifold):
    with pytest.raises(ValueError, match="two axes"):
        manifold.dimension((4,))


@every_manifold
@every_shape
@every_dtype
def test_retract_lands_on_the_manifold(manifold, shape, dtype):
    x = point(manifold, shape, dtype=dtype)
    for size in (1e-3, 1.0, 30.0):
        y = manifold.retract(x, size * radius(manifold) * tangent(manifold, x))
        assert y.dtype == dtype
        assert manifold.violation(y).max() <= ON[dtype]


@every_manifold
@every_shape
def test_retract_by_zero_stays(manifold, shape):
    x = point(manifold, shape)
    assert (manifold.retract(x, torch.zeros_like(x)) - x).abs().max() <= 1e-14 * radius(manifold)


@every_manifold
@every_shape
def test_retract_is_the_identity_to_first_order(manifold, shape):
    x = point(manifold, shape)
    u = tangent(manifold, x)
    u = u * radius(manifold) / u.norm() if not isolated(manifold, shape) else torch.zeros_like(u)
    errors = [(manifold.retract(x, t * u) - x - t * u).norm() / radius(manifold) for t in (1e-2, 1e-3)]
    slope = torch.log10(errors[0] / errors[1])
    assert slope >= 1.9 or errors[0] < 1e-14


@every_manifold
@every_shape
@every_dtype
def test_violation_is_a_number_for_every_matrix(manifold, shape, dtype):
    x = point(manifold, shape, dtype=dtype)
    off = manifold.violation(1.5 * x)
    assert off.shape == shape[:-2]
    if isinstance(manifold, Euclidean):
        assert (off == 0).all()
    else:
        assert (off > 0.4).all()
        if shape[:-2]:
            x[(0,) * len(shape[:-2])] *= 1.5
            assert (manifold.violation(x).flatten() > 0.4).tolist() == [True] + [False] * (off.numel() - 1)


@every_radius
@pytest.mark.parametrize("r", [1e-6, 1e6])
def test_violation_is_relative_to_the_radius(manifold, r):
    x = point(manifold, (5, 4)) / manifold.radius
    off = dataclasses.replace(manifold, radius=1.0).violation(1.01 * x)
    assert torch.allclose(dataclasses.replace(manifold, radius=r).violation(1.01 * r * x), off, rtol=1e-12)


@every_manifold
@every_dtype
def test_batched_equals_looped(manifold, dtype):
    shape = (2, 3, 6, 4)
    x, g = point(manifold, shape, dtype=dtype), normal(shape, 1, dtype)
    g[0, 1] = 0
    g[1, 0, 2] = 0
    g[1, 2, :, 3] = 0
    for operation in (
        lambda x, g: manifold.project(g),
        manifold.to_tangent,
        manifold.retract,
        lambda x, g: manifold.violation(g),
    ):
        looped = torch.stack([torch.stack([operation(x[i, j], g[i, j]) for j in range(3)]) for i in range(2)])
        assert torch.allclose(operation(x, g), looped, atol=3 * ON[dtype] * max(1.0, radius(manifold)))


@every_manifold
@every_shape
def test_wide_is_the_transpose_of_tall(manifold, shape):
    *batch, m, n = shape
    mirror = transposed(manifold)
    x, g = point(manifold, shape), normal(shape, 1)
    u = manifold.to_tangent(x, g)
    for y in [awkward(kind, shape) for kind in AWKWARD] if m != n else [g]:  # a square y may be completed in two ways
        assert torch.allclose(mirror.project(y.mT).mT, manifold.project(y), atol=1e-13)
    assert torch.allclose(mirror.to_tangent(x.mT, g.mT).mT, u, atol=1e-13)
    assert torch.allclose(mirror.retract(x.mT, u.mT).mT, manifold.retract(x, u), atol=1e-13)
    assert torch.allclose(mirror.violation(1.5 * x.mT), manifold.violation(1.5 * x), atol=1e-13)
    assert mirror.dimension((*batch, n, m)) == manifold.dimension(shape)


@every_manifold
def test_arguments_are_left_alone(manifold):
    x, g = point(manifold, (5, 3)), normal((5, 3))
    kept = x.clone(), g.clone()
    for result in (manifold.project(x), manifold.to_tangent(x, g), manifold.retract(x, g), manifold.violation(x)):
        result.fill_(7.0)
        assert torch.equal(x, kept[0])
        assert torch.equal(g, kept[1])


@every_manifold
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_tensors(manifold, shape):
    x = torch.zeros(shape)
    assert manifold.random(shape).shape == shape
    assert manifold.project(x).shape == shape
    assert manifold.to_tangent(x, x).shape == shape
    assert manifold.retract(x, x).shape == shape
    assert manifold.violation(x).shape == shape[:-2]
    assert not manifold.violation(x).isnan().any()
    assert manifold.dimension(shape) == 0


@every_manifold
def test_nan_is_passed_on(manifold):
    x, g = point(manifold, (4, 3)), normal((4, 3))
    g[1, 1] = torch.nan
    assert manifold.project(g).isnan().any()
    assert manifold.to_tangent(x, g).isnan().any()
    assert manifold.retract(x, g).isnan().any()
    if not isinstance(manifold, Euclidean):
        assert manifold.violation(g).isnan()


@pytest.mark.parametrize("kind", [Sphere, Oblique, Stiefel])
@pytest.mark.parametrize("radius", [0.0, -1.0, float("inf"), float("nan")])
def test_radius_must_be_positive_and_finite(kind, radius):
    with pytest.raises(ValueError, match=f"radius must be positive and finite, got {radius}"):
        kind(radius=radius)


@every_manifold
def test_manifolds_are_values(manifold):
    twin = pickle.loads(pickle.dumps(manifold))
    assert twin == manifold
    assert hash(twin) == hash(manifold)
    assert dataclasses.replace(manifold) == manifold
    assert eval(repr(manifold)) == manifold
    assert sum(other == manifold for other in MANIFOLDS) == 1
    assert len({*MANIFOLDS, twin}) == len(MANIFOLDS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifold.radius = 2.0
