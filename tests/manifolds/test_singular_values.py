"""Bounds on singular values: clipping and tangent cones, against other methods."""

import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor

from modular_manifolds.linalg import sym
from modular_manifolds.manifolds.singular_values import clip, cone_projection, map_singular_values, violation

SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (7, 4), (4, 7), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
BOUNDS = [(0.0, 1.5), (0.5, 1.5)]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_bound = pytest.mark.parametrize(("low", "high"), BOUNDS)


def to_cone(x, g, low, high):
    return cone_projection(x, low, high)(g)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_singular_values(values: list[float], m: int, n: int, seed: int = 0) -> Tensor:
    u = torch.linalg.qr(normal(m, len(values), seed=seed)).Q
    v = torch.linalg.qr(normal(n, len(values), seed=seed + 1)).Q
    return u @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ v.mT


def corner(low: float, high: float, m: int = 6, n: int = 5) -> Tensor:
    """Two singular values at each bound, and one between them."""
    return with_singular_values([high, high, (low + high) / 2, low, low], m, n)


def outward(low: float, high: float, seed: int) -> Tensor:
    """A direction that crosses every bound that `corner` is at, and is otherwise random."""
    return normal(6, 5, seed=seed) + 3 * map_singular_values(corner(low, high), lambda s: s - (low + high) / 2)


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))


def cone_projection_by_least_squares(x: Tensor, g: Tensor, low: float, high: float) -> Tensor:
    """The cone is the intersection of the half-spaces <A, (U q)(V q)^T> <= 0 at `high`, >= 0 at `low`, over all q.

    For many q, what the projection takes from g is the nearest nonnegative combination of their normals.
    """
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    normals = []
    for bound, sign in ((high, 1.0), (low, -1.0)):
        at = (s - bound).abs() < 1e-9
        for angle in torch.linspace(0, torch.pi, 2001, dtype=x.dtype)[:-1] if bound > 0 else []:
            q = torch.stack([angle.cos(), angle.sin()])
            normals.append(sign * torch.outer(u[:, at] @ q, q @ vh[at]))
    matrix = torch.stack(normals, -1).flatten(0, 1)
    taken = matrix @ torch.from_numpy(nnls(matrix.numpy(), g.flatten().numpy())[0])
    return g - taken.reshape(g.shape)


@every_shape
@every_bound
def test_clip_is_nearest(shape, low, high):
    x = 1.5 * normal(*shape)
    y = clip(x, low, high)
    values = torch.linalg.svdvals(y)
    assert values.min() >= low - 1e-14
    assert values.max() <= high + 1e-14
    distance = (x - y).flatten(-2).norm(dim=-1)
    for seed in range(30):
        other = normal(*shape, seed=seed + 1)
        near = y + 1e-2 * other
        for z in (other, near):
            u, s, vh = torch.linalg.svd(z, full_matrices=False)
            feasible = u * s.clamp(low, high).unsqueeze(-2) @ vh
            assert ((x - feasible).flatten(-2).norm(dim=-1) >= distance - 1e-12).all()


def test_clip_from_above_solves_the_variational_inequality():
    """y is nearest in a convex set iff <x - y, z - y> <= 0 for all z in it; the worst z is a multiple of a sign."""
    x = 2 * normal(7, 5)
    y = clip(x, 0.0, 1.5)
    assert 1.5 * torch.linalg.svdvals(x - y).sum() - inner(x - y, y) < 1e-12


@every_bound
def test_clip_leaves_feasible_matrices_alone_to_the_last_bit(low, high):
    inside = with_singular_values([low + 0.9, low + 0.5, low + 0.1], 6, 3)
    assert torch.equal(clip(inside, low, high), inside)
    assert torch.equal(clip(inside.float(), low, high), inside.float())
    x = clip(normal(2, 6, 4), low, high)
    assert torch.allclose(clip(x, low, high), x, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["generic", "zero", "rank one", "all equal", "graded"])
def test_clip_at_any_scale(scale, dtype, kind):
    x = {
        "generic": normal(6, 4),
        "zero": torch.zeros(6, 4, dtype=torch.float64),
        "rank one": normal(6, 1) @ normal(1, 4),
        "all equal": with_singular_values([1.0] * 4, 6, 4),
        "graded": normal(6, 4) * torch.logspace(0, -17, 4, dtype=torch.float64),
    }[kind]
    y = clip((x * scale).to(dtype), 0.5, 2.0)
    assert y.dtype == dtype
    assert violation(y, 0.5, 2.0) < {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]
    assert torch.equal(y, clip((x * scale).to(dtype), 0.5, 2.0))


@every_shape
def test_wide_is_the_transpose_of_tall_and_batches_are_loops(shape):
    x, g = clip(2 * normal(*shape), 0.5, 1.5), normal(*shape, seed=1)
    for kind in (2 * normal(*shape), 0 * normal(*shape), normal(*shape)[..., :1] * normal(*shape)[..., :1, :]):
        if shape[-1] != shape[-2]:
            assert torch.equal(clip(kind.mT, 0.5, 1.5).mT, clip(kind, 0.5, 1.5))
        batch = torch.stack([kind, x])
        assert torch.allclose(clip(batch, 0.5, 1.5), torch.stack([clip(kind, 0.5, 1.5), clip(x, 0.5, 1.5)]), atol=1e-14)
    assert torch.allclose(to_cone(x.mT, g.mT, 0.5, 1.5).mT, to_cone(x, g, 0.5, 1.5), atol=1e-13)
    assert torch.allclose(to_cone(torch.stack([x, x]), torch.stack([g, -g]), 0.5, 1.5)[1], to_cone(x, -g, 0.5, 1.5))


@every_bound
def test_cone_is_everything_inside(low, high):
    x, g = with_singular_values([low + 0.9, low + 0.5, low + 0.1], 5, 3), normal(5, 3)
    assert torch.equal(to_cone(x, g, low, high), g)


@every_bound
@pytest.mark.parametrize("seed", range(3))
def test_cone_projection_against_least_squares(low, high, seed):
    x, g = corner(low, high), normal(6, 5, seed=seed + 10)
    assert torch.allclose(to_cone(x, g, low, high), cone_projection_by_least_squares(x, g, low, high), atol=2e-3)


@every_bound
@pytest.mark.parametrize("seed", range(5))
def test_cone_projection_is_one(low, high, seed):
    """Idempotent, positively homogeneous, nonexpansive, and g splits into two orthogonal cones (Moreau)."""
    x, g, h = corner(low, high), outward(low, high, seed), normal(6, 5, seed=seed + 40)
    p, q = to_cone(x, g, low, high), to_cone(x, h, low, high)
    assert (p - g).norm() > 0.1
    assert torch.allclose(to_cone(x, p, low, high), p, atol=1e-13)
    assert torch.allclose(to_cone(x, 7 * g, low, high), 7 * p, atol=1e-13)
    assert abs(inner(g - p, p)) < 1e-13
    assert inner(g - p, q) < 1e-13
    assert (p - q).norm() <= (g - h).norm()
    assert torch.allclose(to_cone(x, g - p, low, high), torch.zeros_like(g), atol=1e-13)


@every_bound
def test_cone_is_that_of_the_sign_conditions(low, high):
    x = corner(low, high)
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    for seed in range(10):
        block = sym(u.mT @ to_cone(x, normal(6, 5, seed=seed), low, high) @ vh.mT)
        assert torch.linalg.eigvalsh(block[:2, :2]).max() < 1e-13
        if low > 0:
            assert torch.linalg.eigvalsh(block[3:, 3:]).min() > -1e-13


@every_bound
def test_directions_of_the_cone_stay_feasible_to_first_order_and_no_others(low, high):
    x = corner(low, high)
    for seed in range(5):
        g = outward(low, high, seed)
        g = g / g.norm()
        off = [violation(x + t * to_cone(x, g, low, high), low, high) for t in (1e-2, 1e-3, 1e-4)]
        assert off[0] / off[1] > 80 or off[1] < 1e-14
        assert off[1] / off[2] > 80 or off[2] < 1e-14
        assert violation(x + 1e-4 * g, low, high) > 1e-6


@pytest.mark.parametrize("distance", [0.0, 1e-7, 5e-5, 1e-3])
def test_a_bound_is_reached_from_a_relative_1e_4_away(distance):
    x = with_singular_values([1 - distance, 0.5], 4, 2)
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    outward = torch.outer(u[:, 0], vh[0])
    expected = torch.zeros_like(x) if distance < 1e-4 else outward
    assert torch.allclose(to_cone(x, outward, 0.0, 1.0), expected, atol=1e-7)


def test_bounds_that_nearly_meet_do_not_overlap():
    low, high = 1.0, 1.0 + 1e-9
    x, g = with_singular_values([high, low], 4, 2), normal(4, 2)
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    out_and_in = u @ torch.diag(torch.tensor([1.0, 1.0], dtype=x.dtype)) @ vh
    kept = u @ torch.diag(torch.tensor([0.0, 1.0], dtype=x.dtype)) @ vh
    assert torch.allclose(to_cone(x, out_and_in, low, high), kept, atol=1e-7)
    assert torch.allclose(to_cone(x, -out_and_in, low, high), kept - out_and_in, atol=1e-7)
    p = to_cone(x, g, low, high)
    assert torch.allclose(to_cone(x, p, low, high), p, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lower_dtypes(dtype):
    x, g = clip(3 * normal(6, 5), 0.5, 1.5), normal(6, 5, seed=1)
    p = to_cone(x.to(dtype), g.to(dtype), 0.5, 1.5)
    assert p.dtype == dtype
    assert torch.allclose(p.double(), to_cone(x, g, 0.5, 1.5), atol=1e-5 if dtype == torch.float32 else 5e-2)


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(shape):
    x = torch.zeros(shape)
    assert clip(x, 0.5, 1.0).shape == to_cone(x, x, 0.5, 1.0).shape == shape
    assert torch.equal(violation(x, 0.5, 1.0), torch.zeros(shape[:-2]))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_gives_nan_for_that_matrix_alone(bad):
    x, g = with_singular_values([1.0, 0.9], 4, 2).repeat(2, 1, 1), normal(2, 4, 2)
    x[0, 1, 1] = bad
    for result in (clip(x, 0.0, 1.0), to_cone(x, g, 0.0, 1.0), to_cone(x[1], x, 0.0, 1.0)):
        assert result[0].isnan().all()
        assert result[1].isfinite().all()
    assert violation(x, 0.0, 1.0).isnan().tolist() == [True, False]


def test_map_refuses_integers():
    with pytest.raises(TypeError, match="floating-point"):
        map_singular_values(torch.ones(2, 2, dtype=torch.int64), lambda s: s)
