"""What exponentials, logarithms, distances and transports promise, on every manifold that has them in closed form."""

import dataclasses

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import (
    Euclidean,
    Grassmann,
    Manifold,
    Oblique,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)

SPD = SymmetricPositiveDefinite()
CASES = [
    *((manifold, shape) for manifold in (Euclidean(), Sphere(2.5)) for shape in ((5, 3), (3, 5), (1, 2), (2, 3, 4, 4))),
    *((Oblique(axis, 0.3), shape) for axis in ("rows", "columns") for shape in ((5, 3), (2, 3, 4, 4))),
    *((Stiefel(3.0), shape) for shape in ((5, 5), (2, 2), (1, 1), (2, 3, 4, 4))),
    *((Grassmann(0.7), shape) for shape in ((7, 3), (3, 7), (5, 4), (6, 1), (2, 3, 6, 2))),
    *(
        (SymmetricPositiveDefinite(metric), shape)
        for metric in ("affine-invariant", "euclidean")
        for shape in ((4, 4),)
    ),
    *((SPD, shape) for shape in ((1, 1), (2, 3, 4, 4))),
]
EXP_ONLY = [(Stiefel(3.0), shape) for shape in ((9, 4), (4, 9), (5, 4), (6, 1), (2, 3, 6, 2))]
EMBEDDED = [(manifold, shape) for manifold, shape in CASES if manifold != SPD]
"""With the metric of the space around; that of SPD has tests of its own."""
ONE_OF_EACH = [
    *(Euclidean(), Sphere(), Oblique("rows"), Oblique("columns"), Stiefel(), Grassmann()),
    *(SPD, SymmetricPositiveDefinite("euclidean")),
]
RADII = [Sphere(), Oblique("rows"), Oblique("columns"), Stiefel(), Grassmann()]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (0, 4, 4), (2, 0, 0)]

every_case = pytest.mark.parametrize(("manifold", "shape"), CASES, ids=str)
every_exp = pytest.mark.parametrize(("manifold", "shape"), CASES + EXP_ONLY, ids=str)


def point(manifold: Manifold, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tangent(manifold: Manifold, x: Tensor, size: float = 0.4, seed: int = 1) -> Tensor:
    """A tangent vector whose length is about `size` radii."""
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u = manifold.to_tangent(x, g)
    unit = (g.shape[-1] * g.shape[-2]) ** 0.5
    return u * size * getattr(manifold, "radius", 1.0) / unit if manifold.dimension(x.shape) else torch.zeros_like(u)


def close(a: Tensor, b: Tensor, manifold: Manifold, atol: float = 1e-13) -> bool:
    return torch.allclose(a, b, rtol=0, atol=atol * max(1.0, getattr(manifold, "radius", 1.0)))


def slope(errors: list[Tensor]) -> float:
    """Order of the errors at steps that shrink ten times each, or infinity for errors of nothing."""
    if errors[0] < 1e-13:
        return float("inf")
    return torch.log10(errors[0] / errors[1]).item()


@every_exp
@pytest.mark.parametrize("size", [0.3, 2.0, 30.0])
def test_exp_stays_on_the_manifold(manifold, shape, size):
    x = point(manifold, shape)
    u = tangent(manifold, x, size)
    if isinstance(manifold, SymmetricPositiveDefinite):
        u = u / size**0.5 if not manifold.flat else 0.1 * u / size  # the edge, or the range of floats, is nearby
    assert manifold.violation(manifold.exp(x, u)).max() <= 2e-14
    single = manifold.exp(x.float(), u.float())
    assert single.dtype == torch.float32
    assert manifold.violation(single).max() <= 2e-6
    half = manifold.exp(x.bfloat16(), u.bfloat16())
    assert half.dtype == torch.bfloat16
    assert manifold.violation(half).max() <= 2e-2


@every_exp
def test_exp_of_zero_stays(manifold, shape):
    x = point(manifold, shape)
    assert close(manifold.exp(x, torch.zeros_like(x)), x, manifold, 1e-14)  # eigh rounds differently from CPU to CPU


@every_exp
def test_retract_follows_exp_to_second_order(manifold, shape):
    assert manifold.retraction_order == 2
    x = point(manifold, shape)
    u = tangent(manifold, x, 1.0)
    errors = [(manifold.retract(x, t * u) - manifold.exp(x, t * u)).norm() for t in (1e-1, 1e-2)]
    assert slope(errors) >= 2.9
    errors = [(manifold.exp(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
    assert slope(errors) >= 1.95


@pytest.mark.parametrize(("manifold", "shape"), EMBEDDED + EXP_ONLY, ids=str)
def test_acceleration_of_exp_is_normal(manifold, shape):
    """Along the whole way, by central differences: the curve is a geodesic."""
    x = point(manifold, shape)
    u = tangent(manifold, x, 1.0)
    h = 1e-3
    for t in (0.0, 0.7):
        before, here, after = (manifold.exp(x, (t + s) * u) for s in (-h, 0, h))
        acceleration = (after - 2 * here + before) / h**2
        assert manifold.to_tangent(here, acceleration).abs().max() <= 1e-8 + 1e-5 * acceleration.abs().max()


@every_case
def test_log_is_the_inverse_of_exp(manifold, shape):
    x = point(manifold, shape)
    for size in (1e-6, 0.4, 1.2):
        u = tangent(manifold, x, size)
        assert close(manifold.log(x, manifold.exp(x, u)), u, manifold, 3e-14)


@every_case
def test_exp_is_the_inverse_of_log(manifold, shape):
    x = point(manifold, shape)
    y = manifold.retract(manifold.exp(x, tangent(manifold, x, 1.2)), tangent(manifold, x, 0.5, seed=3))
    u = manifold.log(x, y)
    assert close(manifold.to_tangent(x, u), u, manifold)
    reached = manifold.exp(x, u)
    if isinstance(manifold, Grassmann):
        assert manifold.distance(reached, y).max() <= 1e-13
    else:
        assert close(reached, y, manifold)


@every_case
def test_distance(manifold, shape):
    x = point(manifold, shape)
    y = manifold.exp(x, tangent(manifold, x, 1.2))
    z = manifold.exp(y, manifold.to_tangent(y, tangent(manifold, x, 0.9, seed=3)))
    d = manifold.distance(x, y)
    assert d.shape == shape[:-2]
    u = manifold.log(x, y)
    assert torch.allclose(d.square(), manifold.inner(x, u, u), rtol=1e-12)
    assert torch.allclose(d, manifold.distance(y, x), rtol=1e-12)
    assert (d <= manifold.distance(x, z) + manifold.distance(z, y) + 1e-13).all()
    assert (manifold.distance(x, x) <= 1e-14 * max(1.0, getattr(manifold, "radius", 1.0))).all()


@every_case
def test_transport_is_a_linear_isometry_between_tangent_spaces(manifold, shape):
    x = point(manifold, shape)
    u, v, w = (tangent(manifold, x, 1.2, seed) for seed in (1, 2, 3))
    y = manifold.exp(x, u)
    tv, tw = manifold.transport(x, u, v), manifold.transport(x, u, w)
    assert close(manifold.to_tangent(y, tv), tv, manifold)
    assert torch.allclose(manifold.inner(y, tv, tw), manifold.inner(x, v, w), atol=1e-13)
    assert close(manifold.transport(x, u, 2 * v - 3 * w), 2 * tv - 3 * tw, manifold)
    assert close(manifold.transport(x, torch.zeros_like(u), v), v, manifold, 3e-15)
    assert close(manifold.transport(x, u, u), -manifold.log(y, x), manifold)  # the velocity, turned back


@pytest.mark.parametrize(("manifold", "shape"), EMBEDDED, ids=str)
def test_transport_is_parallel(manifold, shape):
    """Its derivative along the way is normal: no tangent vector changes more than it must."""
    x = point(manifold, shape)
    u, v = tangent(manifold, x, 1.0), tangent(manifold, x, 1.0, seed=2)
    h = 1e-4
    for t in (0.0, 0.7):
        before, after = (manifold.transport(x, (t + s) * u, v) for s in (-h, h))
        derivative = manifold.to_tangent(manifold.exp(x, t * u), (after - before) / (2 * h))
        assert derivative.abs().max() <= 1e-8


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lower_precision(manifold, shape, dtype):
    x = point(manifold, shape).to(dtype)
    u, v = (tangent(manifold, x.double(), 1.0, seed).to(dtype) for seed in (1, 2))
    y = manifold.exp(x, u)
    slack = 300 * torch.finfo(torch.float32).eps if dtype == torch.float32 else 10 * torch.finfo(dtype).eps
    for low, high in (
        (y, manifold.exp(x.double(), u.double())),
        (manifold.log(x, y), manifold.log(x.double(), y.double())),
        (manifold.transport(x, u, v), manifold.transport(x.double(), u.double(), v.double())),
        (manifold.distance(x, y), manifold.distance(x.double(), y.double())),
    ):
        assert low.dtype == dtype
        assert close(low.double(), high, manifold, slack * max(1.0, high.abs().max().item()))


@pytest.mark.parametrize("manifold", RADII, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("radius", [1e-30, 1e-6, 1e6, 1e30])
def test_everything_grows_with_the_radius(manifold, dtype, radius):
    shape = (4, 4) if isinstance(manifold, Stiefel) else (5, 3)
    x = point(manifold, shape).to(dtype)
    u, v = (tangent(manifold, x.double(), 1.0, seed).to(dtype) for seed in (1, 2))
    y = manifold.exp(x, u)
    large = dataclasses.replace(manifold, radius=radius)
    slack = 50 * torch.finfo(dtype).eps
    for here, there in (
        (manifold.to_tangent(x, v), large.to_tangent(radius * x, radius * v)),
        (y, large.exp(radius * x, radius * u)),
        (manifold.log(x, y), large.log(radius * x, radius * y)),
        (manifold.distance(x, y), large.distance(radius * x, radius * y)),
        (manifold.transport(x, u, v), large.transport(radius * x, radius * u, radius * v)),
    ):
        assert torch.allclose(there / radius, here, rtol=0, atol=slack)


@pytest.mark.parametrize("manifold", ONE_OF_EACH, ids=str)
def test_batched_equals_looped(manifold):
    x = point(manifold, (2, 3, 4, 4))
    x = manifold.exp(x[0], tangent(manifold, x[0])), x[0]
    u, v = tangent(manifold, x[1]), tangent(manifold, x[1], seed=2)
    u[1] = 0
    for operation in (
        lambda i: manifold.exp(x[1][i], u[i]),
        lambda i: manifold.log(x[1][i], x[0][i]),
        lambda i: manifold.distance(x[1][i], x[0][i]),
        lambda i: manifold.transport(x[1][i], u[i], v[i]),
    ):
        assert torch.allclose(operation(slice(None)), torch.stack([operation(i) for i in range(3)]), atol=1e-13)


@pytest.mark.parametrize("manifold", [Grassmann(0.7), Stiefel(3.0)], ids=str)
def test_wide_is_the_transpose_of_tall(manifold):
    x = point(manifold, (7, 3))
    u, v = tangent(manifold, x), tangent(manifold, x, seed=2)
    y = manifold.exp(x, u)
    assert close(manifold.exp(x.mT, u.mT).mT, y, manifold)
    if isinstance(manifold, Grassmann):
        assert close(manifold.log(x.mT, y.mT).mT, manifold.log(x, y), manifold)
        assert close(manifold.distance(x.mT, y.mT), manifold.distance(x, y), manifold)
        assert close(manifold.transport(x.mT, u.mT, v.mT).mT, manifold.transport(x, u, v), manifold)


@pytest.mark.parametrize("manifold", ONE_OF_EACH, ids=str)
def test_arguments_are_left_alone(manifold):
    x = point(manifold, (4, 4))
    u, v = tangent(manifold, x), tangent(manifold, x, seed=2)
    y = manifold.exp(x, u)
    kept = [t.clone() for t in (x, u, v, y)]
    for result in (y.clone(), manifold.exp(x, u), manifold.log(x, y), manifold.transport(x, u, v)):
        result.fill_(7.0)
        assert all(torch.equal(a, b) for a, b in zip((x, u, v, y), kept, strict=True))


@pytest.mark.parametrize("manifold", ONE_OF_EACH, ids=str)
def test_empty_tensors(manifold):
    for shape in EMPTY:
        if shape[-2] == shape[-1] or not isinstance(manifold, SymmetricPositiveDefinite):
            x = torch.zeros(shape)
            assert manifold.exp(x, x).shape == shape
            if shape[-2] == shape[-1] or not isinstance(manifold, Stiefel):
                check_empty(manifold, x)


def check_empty(manifold: Manifold, x: Tensor) -> None:
    shape = x.shape
    assert manifold.log(x, x).shape == shape
    assert torch.equal(manifold.distance(x, x), torch.zeros(shape[:-2]))
    assert manifold.transport(x, x, x).shape == shape


@pytest.mark.parametrize("manifold", ONE_OF_EACH, ids=str)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_passed_on(manifold, bad):
    x = point(manifold, (2, 4, 4))
    x[1] = x[0]
    u, v = tangent(manifold, x), tangent(manifold, x, seed=2)
    u[0, 1, 2] = u[0, 2, 1] = bad
    for result in (manifold.exp(x, u), manifold.log(x, u.where(~u.isfinite(), x))):
        assert (~result[0].isfinite()).any()
        assert result[1].isfinite().all()
    transported = manifold.transport(x, v, u)
    assert (~transported[0].isfinite()).any()
    assert transported[1].isfinite().all()


@pytest.mark.parametrize("manifold", ONE_OF_EACH[1:], ids=str)
def test_integers_are_refused(manifold):
    x = torch.ones(3, 3, dtype=torch.int64)
    with pytest.raises(TypeError, match="floating-point"):
        manifold.exp(x, x)
