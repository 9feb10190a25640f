"""The library's conformance suite on every pair of the table, and what closed forms promise beyond it.

The pairs come from the table: a new one is tested as soon as it is registered, given instances in `every_pair`.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from modular_manifolds import Geometry, NoLMOError
from modular_manifolds.manifolds import (
    DGram,
    LowRankFactors,
    Manifold,
    Oblique,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)
from modular_manifolds.norms import (
    Frobenius,
    MaxColumn,
    MaxEntry,
    MaxRow,
    Nuclear,
    Schatten,
)
from modular_manifolds.testing import pair_checks
from modular_manifolds.testing.samples import normal_gradient
from modular_manifolds.testing.shapes import has_shape
from tests.lmo.every_pair import TABLE, is_variant

GAPS = {"closed form": None, "root": 1e-6, "iterative": 1e-3}
"""Relative gaps that the kinds of pairs promise; a formula is exact up to rounding."""

ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-6}


CLOSED_FORMS = [geometry for geometry, kind in TABLE.items() if kind == "closed form" and not is_variant(geometry)]
SHAPES = {
    "closed form": [(5, 5), (7, 3), (3, 7), (1, 1), (1, 6), (2, 6, 4)],
    "root": [(5, 5), (7, 3), (3, 7), (1, 6), (2, 4, 4)],
    "iterative": [(5, 5), (7, 3), (3, 7), (2, 4, 3)],
}
"""What to try: fewer where a direction takes longer."""

FULL_RANK = [(7, 3), (7, 1), (2, 3, 7, 2)]
"""Shapes in which both factors of LowRankFactors(3) can have full rank; in others its metric is degenerate."""

every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
every_closed_form = pytest.mark.parametrize("geometry", CLOSED_FORMS, ids=lambda it: f"{it.manifold}-{it.norm}")


def run(check, geometry, examples):
    kind = TABLE[geometry]
    shapes = FULL_RANK if isinstance(geometry.manifold, LowRankFactors) else SHAPES[kind]
    check.run(geometry, [it for it in shapes if has_shape(geometry, it)] or None, examples=examples, gap=GAPS[kind])


def is_slow(geometry: Geometry) -> bool:
    """What takes long, or adds little to what others show."""
    searched = TABLE[geometry] != "closed form" and isinstance(geometry.norm, Schatten | MaxRow | MaxColumn)
    return searched or is_variant(geometry)


def pairs(slow: bool):
    found = [geometry for geometry in TABLE if is_slow(geometry) == slow]
    return pytest.mark.parametrize("geometry", found, ids=lambda it: f"{it.manifold}-{it.norm}")


@pairs(slow=False)
@pytest.mark.parametrize("check", pair_checks.values(), ids=str)
def test_keeps_its_promises(geometry, check):
    run(check, geometry, examples=2)


@pytest.mark.slow
@pairs(slow=True)
@pytest.mark.parametrize("check", pair_checks.values(), ids=str)
def test_variants_keep_their_promises(geometry, check):
    run(check, geometry, examples=5)


@pytest.mark.slow
@pairs(slow=False)
@pytest.mark.parametrize("check", pair_checks.values(), ids=str)
def test_keeps_its_promises_on_many_more_cases(geometry, check):
    run(check, geometry, examples=30)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def problem(
    geometry: Geometry, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """A weight on the manifold, and a gradient."""
    w = geometry.manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return w, normal(shape, seed + 1, dtype)


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() * y.double()).sum((-2, -1))


def without_tangent_part(manifold: Manifold, w: Tensor) -> Tensor:
    """A gradient at w that is normal to the manifold."""
    return normal_gradient(manifold, w.double(), normal(tuple(w.shape), 2)).to(w.dtype)


def side(geometry: Geometry) -> tuple[int, int]:
    return next(shape for shape in ((5, 5), (7, 3), (5, 4)) if has_shape(geometry, shape))


@every_closed_form
@pytest.mark.parametrize(("dtype", "drift"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_normal_gradient_gives_zero_off_the_manifold_too(geometry, dtype, drift):
    w, _ = problem(geometry, side(geometry), dtype)
    g = without_tangent_part(geometry.manifold, w)
    assert torch.equal(geometry.lmo(w * (1 + drift), g), torch.zeros_like(g))


@every_closed_form
@every_dtype
def test_large_normal_part_does_not_hide_the_tangent_one(geometry, dtype):
    w, g = problem(geometry, side(geometry), dtype)
    g = geometry.manifold.to_tangent(w, g)
    hidden = g + 100 * without_tangent_part(geometry.manifold, w)
    gap = geometry.certificate(w, g, geometry.lmo(w, hidden)).gap
    assert gap <= (1e-7 if dtype == torch.float64 else 1e-2)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(Sphere(), Frobenius()),
        Geometry(Sphere(), MaxEntry()),
        Geometry(Oblique("rows"), MaxRow()),
        Geometry(Oblique("columns"), MaxColumn()),
        Geometry(Stiefel(), Frobenius()),
    ],
    ids=lambda it: f"{it.manifold}-{it.norm}",
)
@every_dtype
@pytest.mark.parametrize("shape", [(200, 150), (40, 300)], ids=str)
def test_normal_gradient_gives_zero_for_large_matrices(geometry, dtype, shape):
    w, _ = problem(geometry, shape, dtype)
    g = without_tangent_part(geometry.manifold, w)
    assert torch.equal(geometry.lmo(w, g), torch.zeros_like(g))


@every_closed_form
def test_bfloat16_weights_are_computed_in_float32(geometry):
    w, g = problem(geometry, side(geometry), torch.bfloat16)
    assert torch.equal(geometry.lmo(w, g), geometry.lmo(w.float(), g.float()).bfloat16())
    assert geometry.lmo(w.float(), g).dtype == torch.float32


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
        (Stiefel(), MaxEntry()),
        (DGram(), Nuclear()),
        (SymmetricPositiveDefinite(), MaxEntry()),
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
