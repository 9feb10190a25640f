"""What every pair of the table promises, but for Stiefel x spectral, which has a file of its own.

The pairs come from the table: a new one is tested as soon as it is registered, given instances in MANIFOLDS and NORMS.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from modular_manifolds import Geometry, NoLMOError
from modular_manifolds.lmo import directions
from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Sphere, Stiefel
from modular_manifolds.norms import Frobenius, MaxColumn, MaxEntry, MaxRow, Norm, RMSOperator, Spectral

NORMS = [Frobenius(), Spectral(), RMSOperator(), MaxRow(), MaxColumn(), MaxEntry()]
MANIFOLDS: dict[type[Manifold], list[Manifold]] = {
    Euclidean: [Euclidean()],
    Sphere: [Sphere(), Sphere(2.5)],
    Oblique: [Oblique("rows"), Oblique("columns", 0.3)],
    Stiefel: [Stiefel(), Stiefel(3.0)],
}
SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-6}
GAP = {torch.float64: 1e-9, torch.float32: 1e-4}


def mismatched(manifold: Manifold, norm: Norm) -> bool:
    """Whether the manifold fixes rows and the norm measures columns, or the other way round."""
    return isinstance(manifold, Oblique) and isinstance(norm, MaxColumn if manifold.axis == "rows" else MaxRow)


GEOMETRIES = [
    Geometry(manifold, norm)
    for pair in directions.pairs()
    if pair != (Stiefel, Spectral)
    for manifold in MANIFOLDS[pair[0]]
    for norm in NORMS
    if isinstance(norm, pair[1]) and not mismatched(manifold, norm)
]

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda it: f"{it.manifold}-{it.norm}")
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=str)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def problem(
    geometry: Geometry, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """A weight on the manifold, and a gradient."""
    w = geometry.manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return w, normal(shape, seed + 1, dtype)


def normal_gradient(manifold: Manifold, w: Tensor, seed: int = 0) -> Tensor:
    """A gradient with no tangent part at w."""
    c = normal(tuple(w.shape), seed, w.dtype)
    match manifold:
        case Euclidean():
            return torch.zeros_like(w)
        case Sphere():
            return w * c[..., :1, :1]
        case Oblique(axis="rows"):
            return w * c[..., :1]
        case Oblique(axis="columns"):
            return w * c[..., :1, :]
        case Stiefel():
            k = min(w.shape[-2:])
            c = c[..., :k, :k] + c[..., :k, :k].mT
            return w @ c if w.shape[-2] >= w.shape[-1] else c @ w
    raise NotImplementedError(f"write down the normal space of {manifold}")


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() * y.double()).sum((-2, -1))


@every_geometry
@every_shape
@every_dtype
def test_direction_is_feasible_and_optimal(geometry, shape, dtype):
    w, g = problem(geometry, shape, dtype)
    a = geometry.lmo(w, g)
    assert a.dtype == dtype
    assert a.shape == shape
    certificate = geometry.certificate(w, g, a)
    assert all(field.shape == shape[:-2] for field in certificate)
    assert certificate.tangency.max() <= ROUNDING[dtype]
    assert torch.allclose(certificate.value, -inner(g, a))
    assert (certificate.value <= certificate.upper_bound * (1 + ROUNDING[dtype])).all()
    assert certificate.gap.max() <= GAP[dtype]
    if geometry.manifold.dimension(shape) > 0:
        assert (certificate.norm - 1).abs().max() <= ROUNDING[dtype]
    else:
        assert torch.equal(a, torch.zeros_like(a))


@every_geometry
@every_shape
def test_no_other_tangent_direction_does_better(geometry, shape):
    w, g = problem(geometry, shape)
    best = geometry.lmo(w, g)
    value = -inner(g, best)
    for size in (1e-6, 1e-3, 0.1, 1e6):
        for seed in range(2, 12):
            u = geometry.manifold.to_tangent(w, best + size * normal(shape, seed))
            assert (-inner(g, u) <= value * geometry.norm(u) + 1e-12 * (1 + size)).all()


@every_geometry
@every_dtype
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_direction_does_not_depend_on_the_gradients_scale(geometry, dtype, scale):
    for shape in SHAPES:
        w, g = problem(geometry, shape, dtype)
        a = geometry.lmo(w, g)
        assert (geometry.lmo(w, g * scale) - a).abs().max() <= 20 * ROUNDING[dtype] * (1 + a.abs().max())
        assert geometry.certificate(w, g * scale, a).gap.max() <= GAP[dtype]


@every_geometry
@every_shape
@every_dtype
def test_zero_gradient_gives_zero(geometry, shape, dtype):
    w, g = problem(geometry, shape, dtype)
    zero = torch.zeros_like(g)
    a = geometry.lmo(w, zero)
    assert torch.equal(a, zero)
    certificate = geometry.certificate(w, zero, a)
    assert all(torch.equal(field, torch.zeros_like(field)) for field in certificate)
    assert (geometry.step(w, zero, 0.5) - w).abs().max() <= 5 * ROUNDING[dtype]


@every_geometry
@every_shape
@pytest.mark.parametrize(("dtype", "drift"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_normal_gradient_gives_zero(geometry, shape, dtype, drift):
    """Not its own rounding error, scaled up to unit length."""
    for seed in range(5):
        w, _ = problem(geometry, shape, dtype, seed)
        g = normal_gradient(geometry.manifold, w, seed)
        zero = torch.zeros_like(g)
        assert torch.equal(geometry.lmo(w, g), zero)
        assert torch.equal(geometry.lmo(w, 0.7e-20 * g), zero)
        assert torch.equal(geometry.lmo(w * (1 + drift), g), zero)
        assert geometry.certificate(w, g, zero).gap.max() == 0


@every_geometry
@every_dtype
@pytest.mark.parametrize("shape", [(200, 150), (40, 300)], ids=str)
def test_normal_gradient_gives_zero_for_large_matrices(geometry, dtype, shape):
    w, _ = problem(geometry, shape, dtype)
    g = normal_gradient(geometry.manifold, w)
    assert torch.equal(geometry.lmo(w, g), torch.zeros_like(g))


@every_geometry
@every_dtype
def test_large_normal_part_does_not_hide_the_tangent_one(geometry, dtype):
    w, g = problem(geometry, (6, 4), dtype)
    g = geometry.manifold.to_tangent(w, g)
    hidden = g + 100 * normal_gradient(geometry.manifold, w)
    assert geometry.certificate(w, g, geometry.lmo(w, hidden)).gap <= 100 * GAP[dtype]


@every_geometry
@every_dtype
def test_batched_equals_looped(geometry, dtype):
    w, g = problem(geometry, (2, 3, 6, 4), dtype)
    g[0, 1] = 0
    g[0, 2] *= 1e20
    g[1, 0] = normal_gradient(geometry.manifold, w[1, 0])
    for operation in (geometry.lmo, lambda w, g: geometry.step(w, g, 0.1)):
        looped = torch.stack([torch.stack([operation(w[i, j], g[i, j]) for j in range(3)]) for i in range(2)])
        assert torch.allclose(operation(w, g), looped, atol=10 * ROUNDING[dtype])


@every_geometry
@every_shape
@every_dtype
def test_step_lands_on_the_manifold(geometry, shape, dtype):
    w, g = problem(geometry, shape, dtype)
    for lr in (1e-3, 0.1, torch.tensor(2.0)):
        after = geometry.step(w, g, lr)
        assert after.dtype == dtype
        assert geometry.manifold.violation(after).max() <= ROUNDING[dtype]
    assert (geometry.step(w, g, 0.0) - w).abs().max() <= 5 * ROUNDING[dtype]


@every_geometry
@every_shape
def test_step_follows_the_direction_to_first_order(geometry, shape):
    w, g = problem(geometry, shape)
    a = geometry.lmo(w, g)
    errors = [(geometry.step(w, g, lr) - w - lr * a).norm() for lr in (1e-2, 1e-3)]
    assert errors[0] < 1e-13 or torch.log10(errors[0] / errors[1]) >= 1.9
    if geometry.manifold.dimension(shape) > 0:
        assert (inner(g, geometry.step(w, g, 1e-3) - w) < 0).all()


@every_geometry
def test_weights_and_gradients_are_left_alone(geometry):
    w, g = problem(geometry, (5, 3))
    kept = w.clone(), g.clone()
    for result in (geometry.lmo(w, g), geometry.step(w, g, 0.1)):
        result.fill_(7.0)
        assert torch.equal(w, kept[0])
        assert torch.equal(g, kept[1])


@every_geometry
def test_bfloat16_weights_are_computed_in_float32(geometry):
    w, g = problem(geometry, (8, 5), torch.bfloat16)
    a = geometry.lmo(w, g)
    assert a.dtype == torch.bfloat16
    assert torch.equal(a, geometry.lmo(w.float(), g.float()).bfloat16())
    certificate = geometry.certificate(w, g, a)
    assert certificate.gap <= 2e-2
    assert certificate.tangency <= 1e-2
    assert geometry.manifold.violation(geometry.step(w, g, 0.1)) <= 1.5e-2
    assert geometry.lmo(w.float(), g).dtype == torch.float32


@every_geometry
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_weights(geometry, shape):
    w = torch.zeros(shape)
    assert geometry.lmo(w, w).shape == shape
    assert geometry.step(w, w, 0.1).shape == shape
    assert all(torch.equal(field, torch.zeros(shape[:-2])) for field in geometry.certificate(w, w, w))


@every_geometry
def test_nan_is_passed_on(geometry):
    w, g = problem(geometry, (4, 3))
    g[1, 1] = torch.nan
    assert geometry.lmo(w, g).isnan().any()
    assert geometry.step(w, g, 0.1).isnan().any()


@every_dtype
@pytest.mark.parametrize(("axis", "norm"), [("rows", MaxRow()), ("columns", MaxColumn())])
def test_oblique_row_with_a_normal_gradient_stays(axis, norm, dtype):
    geometry = Geometry(Oblique(axis, 0.3), norm)
    w, g = problem(geometry, (6, 6), dtype)
    one = 2 if axis == "rows" else (slice(None), 2)
    g[one] = -0.7 * w[one]
    a = geometry.lmo(w, g)
    lengths = a.norm(dim=geometry.manifold.along)
    assert torch.equal(a[one], torch.zeros(6, dtype=dtype))
    expected = torch.ones(6, dtype=dtype) * 6**0.5
    expected[2] = 0
    assert torch.allclose(lengths, expected, atol=ROUNDING[dtype])


def smallest_value(w: Tensor, g: Tensor) -> float:
    """min <g, a> over <w, a> = 0 and |a_i| <= 1, by linear programming."""
    solution = linprog(g.flatten().numpy(), A_eq=w.flatten()[None].numpy(), b_eq=[0.0], bounds=(-1, 1))
    assert solution.success
    return float(solution.fun)


def check_sphere_max_entry(w: Tensor, g: Tensor) -> None:
    a = Geometry(Sphere(float(w.norm())), MaxEntry()).lmo(w, g)
    assert a.abs().max() <= 1
    assert inner(w, a).abs() <= 1e-13 * w.abs().sum()
    assert inner(g, a).item() == pytest.approx(smallest_value(w, g), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 2), (1, 7), (4, 5), (12, 10)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_sphere_max_entry_is_the_linear_programs_solution(shape, seed):
    check_sphere_max_entry(normal(shape, seed), normal(shape, seed + 10))


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=8))
def test_sphere_max_entry_with_ties_and_zeros(entries):
    """Small whole numbers: equal ratios, equal weights, halves reached exactly, zeros in w, in g and in both."""
    w, g = torch.tensor(entries, dtype=torch.float64).T[:, None].unbind()
    assume(w.any())
    check_sphere_max_entry(w, g)


@pytest.mark.parametrize(
    ("w", "g", "a"),
    [
        ([1.0, 1, 1, 1], [4.0, 3, 2, 1], [-1.0, -1, 1, 1]),
        ([1.0, 1, 1], [3.0, 2, 1], [-1.0, 0, 1]),
        ([0.0, 1, 0], [5.0, 7, -2], [-1.0, 0, 1]),
        ([3.0, 1, 1], [0.0, -1, -1], [-2 / 3, 1, 1]),
        ([1.0, 1, 1, 1], [0.0, 0, 0, 5], [1 / 3, 1 / 3, 1 / 3, -1]),
    ],
)
def test_sphere_max_entry_by_hand(w, g, a):
    w, g, a = (torch.tensor([x], dtype=torch.float64) for x in (w, g, a))
    assert torch.allclose(Geometry(Sphere(float(w.norm())), MaxEntry()).lmo(w, g), a, atol=1e-14)


def test_sphere_max_entry_with_weights_of_every_size():
    """Ratios of a gradient to a tiny weight leave the range of float32."""
    w = torch.tensor([[1e-30, 0.6, -1e-12, 0.8, 0.0, 1e-20]])
    g = torch.tensor([[3.0, -2.0, 5.0, 1.0, 0.0, -1.0]])
    for scale in (1e-30, 1.0, 1e30):
        a = Geometry(Sphere(), MaxEntry()).lmo(w, g * scale)
        assert torch.allclose(a, torch.tensor([[-1.0, 1.0, -1.0, -0.75, 0.0, 1.0]]), atol=1e-6)


def test_sphere_max_entry_of_a_large_float32_matrix_is_tangent():
    geometry = Geometry(Sphere(), MaxEntry())
    w, g = problem(geometry, (1000, 400), torch.float32)
    certificate = geometry.certificate(w, g, geometry.lmo(w, g))
    assert certificate.tangency < 1e-5
    assert certificate.gap < 1e-5


@pytest.mark.parametrize(
    ("manifold", "norm"),
    [
        (Sphere(), Spectral()),
        (Stiefel(), MaxEntry()),
        (Oblique("rows"), Frobenius()),
        (Oblique("columns"), MaxRow()),
        (Oblique("rows"), MaxColumn()),
    ],
    ids=str,
)
def test_pair_without_a_direction_is_refused_at_construction(manifold, norm):
    with pytest.raises(NoLMOError) as error:
        Geometry(manifold, norm)
    assert f"{manifold} x {norm}" in str(error.value)
    for known in (
        "Euclidean x Norm",
        "Sphere x Frobenius",
        "Oblique(axis='rows') x MaxRow",
        "Stiefel x Spectral",
        "pass a solver",
    ):
        assert known in str(error.value)


@pytest.mark.parametrize(("axis", "norm"), [("columns", MaxRow()), ("rows", MaxColumn())], ids=str)
def test_rows_do_not_go_with_columns(axis, norm):
    w = Oblique(axis).random((4, 3))
    with pytest.raises(NoLMOError, match=rf"Oblique\(axis='{axis}', radius=1\.0\) x {type(norm).__name__}"):
        Geometry(Oblique(axis), norm).lmo(w, w)
