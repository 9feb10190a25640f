"""What every norm promises, and each value against an independent formula. A new norm joins NORMS and FORMULAS."""

import dataclasses
import pickle
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modular_manifolds.norms import (
    Frobenius,
    MaxColumn,
    MaxEntry,
    MaxRow,
    Norm,
    Nuclear,
    PerBlock,
    PerHead,
    RMSOperator,
    RowSup,
    Schatten,
    Spectral,
)

NORMS = [
    Frobenius(),
    Spectral(),
    RMSOperator(),
    Nuclear(),
    Schatten(1.001),
    Schatten(4.0),
    Schatten(1e6),
    MaxRow(),
    MaxColumn(),
    MaxEntry(),
    RowSup(),
    PerBlock(Spectral(), 2),
    PerBlock((Spectral(), MaxRow(), Nuclear()), (1, 2, 3), weights=(0.5, 1.0, 2.0)),
    PerBlock(Schatten(3.0), (2, 2), "columns", (1.0, 0.1)),
    PerBlock(PerBlock(MaxRow(), 2, "columns"), 3),
    PerHead(RMSOperator(), 2, "columns"),
    PerHead((Frobenius(), MaxEntry(), RowSup()), 3),
]
SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}

every_norm = pytest.mark.parametrize("norm", NORMS, ids=str)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
few_examples = settings(derandomize=True, deadline=None, database=None, max_examples=15)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**31)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def fitted(norm: Norm, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, with as many rows and columns more as it takes to be cut into the norm's blocks."""
    *batch, m, n = shape
    match norm:
        case PerBlock(norms=PerBlock(split=inside), split=outside):
            return (*batch, m * outside, n * inside)
        case PerBlock(split=tuple(sizes), axis="rows"):
            return (*batch, sum(sizes), n)
        case PerBlock(split=tuple(sizes), axis="columns"):
            return (*batch, m, sum(sizes))
        case PerBlock(split=count, axis="rows") | PerHead(heads=count, axis="rows"):
            return (*batch, m * count, n)
        case PerHead(heads=count, axis="columns"):
            return (*batch, m, n * count)
    return shape


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() * y.double()).sum((-2, -1))


def rows(u: Tensor) -> list[float]:
    """Lengths of the rows of one matrix."""
    return [sqrt(sum(float(entry) ** 2 for entry in row)) for row in u]


def singular_values(u: Tensor) -> Tensor:
    return torch.linalg.svdvals(u.double())


def l_norm(p: float, x: Tensor) -> float:
    """The l_p norm of positive numbers."""
    return torch.linalg.vector_norm(x / x.max(), p).item() * x.max().item()


def cut(norm: PerBlock | PerHead, u: Tensor) -> list[tuple[Norm, float, Tensor]]:
    """Norm, weight and block of every block."""
    count = norm.heads if isinstance(norm, PerHead) else norm.split
    axis = 0 if norm.axis == "rows" else 1
    blocks = u.split(list(count), axis) if isinstance(count, tuple) else u.chunk(count, axis)
    norms = norm.norms if isinstance(norm.norms, tuple) else [norm.norms] * len(blocks)
    weights = getattr(norm, "weights", None) or [1.0] * len(blocks)
    return list(zip(norms, weights, blocks, strict=True))


def value(norm: Norm, u: Tensor) -> float:
    """The norm of one matrix, by FORMULAS."""
    if isinstance(norm, PerBlock | PerHead):
        return max(weight * value(one, block) for one, weight, block in cut(norm, u))
    return float(FORMULAS[type(norm)][0](u, *dataclasses.astuple(norm)))


def dual_value(norm: Norm, u: Tensor) -> float:
    """The dual norm of one matrix, by FORMULAS."""
    if isinstance(norm, PerBlock | PerHead):
        return sum(dual_value(one, block) / weight for one, weight, block in cut(norm, u))
    return float(FORMULAS[type(norm)][1](u, *dataclasses.astuple(norm)))


FORMULAS = {
    Frobenius: (lambda u: sqrt(sum(r**2 for r in rows(u))), lambda u: sqrt(sum(r**2 for r in rows(u)))),
    Spectral: (lambda u: singular_values(u).max(), lambda u: singular_values(u).sum()),
    RMSOperator: (
        lambda u: singular_values(u).max() * sqrt(u.shape[1] / u.shape[0]),
        lambda u: singular_values(u).sum() * sqrt(u.shape[0] / u.shape[1]),
    ),
    Nuclear: (lambda u: singular_values(u).sum(), lambda u: singular_values(u).max()),
    Schatten: (lambda u, p: l_norm(p, singular_values(u)), lambda u, p: l_norm(1 / (1 - 1 / p), singular_values(u))),
    RowSup: (lambda u: max(rows(u)) * sqrt(u.shape[1]), lambda u: sum(rows(u)) / sqrt(u.shape[1])),
    MaxRow: (lambda u: max(rows(u)) / sqrt(u.shape[1]), lambda u: sum(rows(u)) * sqrt(u.shape[1])),
    MaxColumn: (lambda u: max(rows(u.mT)) / sqrt(u.shape[0]), lambda u: sum(rows(u.mT)) * sqrt(u.shape[0])),
    MaxEntry: (
        lambda u: max(abs(float(entry)) for row in u for entry in row),
        lambda u: sum(abs(float(entry)) for row in u for entry in row),
    ),
}
"""Norm and dual norm of one matrix and the norm's fields, written without its code. `cut` has those of blocks."""


@every_norm
@every_shape
@every_dtype
def test_values(norm, shape, dtype):
    u = normal(fitted(norm, shape), dtype=dtype)
    for result, formula in ((norm(u), value), (norm.dual(u), dual_value)):
        assert result.dtype == dtype
        assert result.shape == shape[:-2]
        expected = torch.tensor([formula(norm, one) for one in u.reshape(-1, *u.shape[-2:])], dtype=torch.float64)
        assert torch.allclose(result.double().flatten(), expected, rtol=TOLERANCE[dtype])
    assert torch.equal(norm(u), norm.norm(u))


@every_norm
@every_shape
@every_dtype
def test_lmo_attains_the_dual_norm_on_the_unit_ball(norm, shape, dtype):
    g = normal(fitted(norm, shape), dtype=dtype)
    a = norm.lmo(g)
    assert a.dtype == dtype
    assert a.shape == g.shape
    assert torch.allclose(norm(a), torch.ones(shape[:-2], dtype=dtype), rtol=TOLERANCE[dtype])
    assert torch.allclose(-inner(g, a), norm.dual(g).double(), rtol=TOLERANCE[dtype])


@every_norm
@every_shape
@every_dtype
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_every_scale_is_alike(norm, shape, dtype, scale):
    u = normal(fitted(norm, shape), dtype=dtype)
    for length in (norm, norm.dual):
        result = (length(u * scale).double() / scale).to(dtype)
        assert torch.allclose(result, length(u), rtol=TOLERANCE[dtype])
    assert torch.allclose(norm.lmo(u * scale), norm.lmo(u), atol=3 * TOLERANCE[dtype])


@every_norm
@every_shape
@every_dtype
def test_zero(norm, shape, dtype):
    zero = torch.zeros(fitted(norm, shape), dtype=dtype)
    assert torch.equal(norm(zero), zero[..., 0, 0])
    assert torch.equal(norm.dual(zero), zero[..., 0, 0])
    assert torch.equal(norm.lmo(zero), zero)


@every_norm
@every_dtype
def test_lmo_is_zero_where_the_gradient_leaves_it_free(norm, dtype):
    g = torch.zeros(6, 4, dtype=dtype)
    g[:3, :2] = normal((3, 2), dtype=dtype)
    a = norm.lmo(g)
    assert torch.equal(a[3:], torch.zeros_like(a[3:]))
    assert torch.equal(a[:, 2:], torch.zeros_like(a[:, 2:]))
    assert -inner(g, a).item() == pytest.approx(norm.dual(g).item(), rel=TOLERANCE[dtype])


@every_norm
@every_shape
def test_lmo_is_no_worse_than_any_direction(norm, shape):
    """Hölder's inequality, on directions at random and on ones close to the best."""
    g = normal(fitted(norm, shape))
    best, dual = norm.lmo(g), norm.dual(g)
    for size in (1e-6, 1e-2, 1e6):
        for seed in range(20):
            u = best + size * normal(tuple(g.shape), seed)
            assert (inner(g, u).abs() <= dual * norm(u) * (1 + 1e-12)).all()


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, factor=st.floats(-1e20, 1e20), dtype=st.sampled_from([*TOLERANCE]))
def test_homogeneity(norm, shape, seed, factor, dtype):
    u = normal(fitted(norm, shape), seed, dtype)
    for length in (norm, norm.dual):
        assert length(factor * u).item() == pytest.approx(abs(factor) * length(u).item(), rel=TOLERANCE[dtype])


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, exponent=st.floats(-20, 20), dtype=st.sampled_from([*TOLERANCE]))
def test_triangle_inequality(norm, shape, seed, exponent, dtype):
    shape = fitted(norm, shape)
    u, v = normal(shape, seed, dtype), 10**exponent * normal(shape, seed + 1, dtype)
    for length in (norm, norm.dual):
        assert length(u + v) <= (length(u) + length(v)) * (1 + TOLERANCE[dtype])


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, exponent=st.floats(-20, 20), dtype=st.sampled_from([*TOLERANCE]))
def test_hoelder_inequality(norm, shape, seed, exponent, dtype):
    shape = fitted(norm, shape)
    g, u = normal(shape, seed, dtype), 10**exponent * normal(shape, seed + 1, dtype)
    assert inner(g, u).abs() <= norm.dual(g).double() * norm(u).double() * (1 + TOLERANCE[dtype])


@every_norm
@every_dtype
def test_batched_equals_looped(norm, dtype):
    g = normal((2, 3, 6, 4), dtype=dtype)
    g[0, 1] = 0
    g[1, 1] *= 1e20
    for operation in (norm, norm.dual, norm.lmo):
        looped = torch.stack([torch.stack([operation(one) for one in row]) for row in g])
        assert torch.allclose(operation(g), looped, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@every_norm
def test_equal_singular_values(norm):
    """Orthonormal matrices, on which torch.linalg.svdvals fails in float32."""
    u = torch.linalg.qr(normal(fitted(norm, (200, 150))))[0].float()
    dual = dual_value(norm, u)
    assert norm.dual(u).item() == pytest.approx(dual, rel=1e-5)
    assert norm(norm.lmo(u)).item() == pytest.approx(1, rel=1e-5)
    assert -inner(u, norm.lmo(u)).item() == pytest.approx(dual, rel=1e-5)


def test_rms_operator_is_the_largest_gain_in_root_mean_square():
    u = normal((6, 4))

    def rms(x: Tensor) -> Tensor:
        return x.square().mean(0).sqrt()

    inputs = torch.cat([normal((4, 1000), 1), torch.linalg.svd(u).Vh[0, :, None]], -1)
    gains = rms(u @ inputs) / rms(inputs)
    assert RMSOperator().norm(u).item() == pytest.approx(gains.max().item(), rel=1e-12)
    assert gains.argmax() == 1000


def test_row_sup_is_the_largest_output_of_inputs_of_root_mean_square_1():
    u = normal((6, 4))
    inputs = torch.cat([normal((4, 1000), 1), u[u.norm(dim=1).argmax(), :, None]], -1)
    outputs = (u @ (inputs / inputs.square().mean(0).sqrt())).abs().amax(0)
    assert RowSup().norm(u).item() == pytest.approx(outputs.max().item(), rel=1e-12)
    assert outputs.argmax() == 1000


@every_norm
def test_unitarily_invariant_where_it_says_so(norm):
    u = normal(fitted(norm, (6, 6)))
    p, q = (torch.linalg.qr(normal((k, k), k))[0] for k in u.shape)
    assert torch.allclose(norm(p @ u @ q), norm(u), rtol=1e-12) == norm.unitarily_invariant


def test_nuclear_lmo_of_tied_singular_values_is_of_rank_one():
    for g in (torch.eye(5), torch.diag(torch.tensor([3.0, 3.0, 1.0])), -torch.eye(4, 7, dtype=torch.float64)):
        values = singular_values(Nuclear().lmo(g))
        assert values[0].item() == pytest.approx(1, rel=1e-6)
        assert values[1:].abs().max() < 1e-6


def test_schatten_lies_between_nuclear_and_spectral():
    u = normal((7, 5))
    for p, limit, close in ((1 + 1e-13, Nuclear(), 1e-12), (2, Frobenius(), 1e-13), (1e15, Spectral(), 1e-12)):
        norm = Schatten(p)
        assert norm(u).item() == pytest.approx(limit(u).item(), rel=close)
        assert norm.dual(u).item() == pytest.approx(limit.dual(u).item(), rel=close)
        assert torch.allclose(norm.lmo(u), limit.lmo(u), atol=close)


@every_dtype
def test_schatten_lmo_leaves_the_null_space_alone(dtype):
    """Where q - 1 is near zero, the power that singular values are raised to would blow up their rounding."""
    g = normal((9, 2), dtype=dtype) @ normal((2, 6), 1, dtype)
    values = singular_values(Schatten(1e6).lmo(g))
    assert torch.allclose(values[:2], torch.ones_like(values[:2]), atol=1e-4)
    assert values[2:].max() < 1e-5


@pytest.mark.parametrize("p", [1, 1.0, 0.5, -2.0, float("inf"), float("nan")])
def test_schatten_refuses_the_ends(p):
    with pytest.raises(ValueError, match=r"between 1 and infinity, got .*Nuclear\(\) for 1 and Spectral\(\)"):
        Schatten(p)


@dataclasses.dataclass(frozen=True)
class Counting(Frobenius):
    """Frobenius, with a list of what shapes it was called with."""

    seen: list[tuple[int, ...]] = dataclasses.field(default_factory=list, compare=False)

    def norm(self, u: Tensor) -> Tensor:
        self.seen.append(tuple(u.shape))
        return super().norm(u)

    def lmo(self, g: Tensor, precision: str = "exact") -> Tensor:
        self.seen.append(tuple(g.shape))
        return super().lmo(g, precision)


@pytest.mark.parametrize("split", [3, (2, 2, 2)], ids=str)
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_equal_blocks_are_one_batch(split, axis):
    inside = Counting()
    norm = PerBlock(inside, split, axis)
    u = normal((5, 6, 6))
    blocks = u.split(2, -2 if axis == "rows" else -1)
    assert torch.allclose(norm(u), torch.stack([block.norm(dim=(-2, -1)) for block in blocks]).amax(0))
    joined = torch.cat(
        [-block / block.norm(dim=(-2, -1), keepdim=True) for block in blocks], -2 if axis == "rows" else -1
    )
    assert torch.allclose(norm.lmo(u), joined)
    assert inside.seen == 2 * [(5, 3, 2, 6) if axis == "rows" else (5, 3, 6, 2)]


def test_every_block_moves_as_if_alone():
    """A fused query, key and value of 2, 3 and 4 rows."""
    g = normal((9, 5))
    query, key, value_ = g.split([2, 3, 4])
    norm = PerBlock((Spectral(), Frobenius(), MaxRow()), (2, 3, 4), weights=(1.0, 2.0, 0.25))
    moves = [Spectral().lmo(query), Frobenius().lmo(key) / 2, MaxRow().lmo(value_) * 4]
    assert torch.allclose(norm.lmo(g), torch.cat(moves))
    assert torch.allclose(norm(torch.cat([query, 0 * key, 0 * value_])), Spectral()(query))
    assert torch.allclose(norm(torch.cat([0 * query, key, 0 * value_])), 2 * Frobenius()(key))


def test_heads_are_blocks():
    g = normal((3, 8, 6))
    for axis in ("rows", "columns"):
        heads, blocks = PerHead(Spectral(), 2, axis), PerBlock(Spectral(), 2, axis)
        assert heads != blocks
        for name in ("norm", "dual", "lmo"):
            assert torch.equal(getattr(heads, name)(g), getattr(blocks, name)(g))


def test_precision_reaches_the_blocks():
    g = normal((30, 20), dtype=torch.float32)
    for norm in (PerBlock(Spectral(), 2), PerHead((Spectral(), RMSOperator()), 2, "columns")):
        a = norm.lmo(g, "balanced")
        assert (a - norm.lmo(g)).abs().max() > 1e-4
        assert -(g * a).sum() > 0.99 * norm.dual(g)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PerBlock(Spectral(), 0), "split must be a positive number of blocks or a tuple of their sizes, got 0"),
        (lambda: PerBlock(Spectral(), ()), r"split must be .* got \(\)"),
        (lambda: PerBlock(Spectral(), (2, -1)), r"split must be .* got \(2, -1\)"),
        (lambda: PerBlock(Spectral(), [2, 1]), r"split must be .* got \[2, 1\]"),
        (lambda: PerBlock(Spectral(), 2.0), r"split must be .* got 2.0"),
        (lambda: PerBlock(Spectral(), 2, "row"), "axis must be 'rows' or 'columns', got 'row'"),
        (lambda: PerBlock((Spectral(),), 2), "norms has 1 entries for 2 blocks"),
        (lambda: PerBlock(Spectral(), 2, weights=(1.0,)), r"tuple of 2 positive finite numbers, got \(1.0,\)"),
        (lambda: PerBlock(Spectral(), 2, weights=(1.0, 0.0)), r"tuple of 2 positive finite numbers, got \(1.0, 0.0\)"),
        (lambda: PerBlock(Spectral(), 2, weights=[1.0, 1.0]), r"tuple of 2 positive finite numbers, got \[1.0, 1.0\]"),
        (lambda: PerHead(Spectral(), 0), "heads must be a positive int, got 0"),
        (lambda: PerHead(Spectral(), (2, 2)), r"heads must be a positive int, got \(2, 2\)"),
        (lambda: PerHead((Spectral(),) * 3, 2), "norms has 3 entries for 2 blocks"),
        (lambda: PerHead(Spectral(), 2, "both"), "axis must be 'rows' or 'columns', got 'both'"),
    ],
)
def test_bad_blocks_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("norms", [Spectral, (Spectral(), "spectral"), [Spectral(), Spectral()]], ids=str)
def test_blocks_need_norms(norms):
    with pytest.raises(TypeError, match="norms must be made of Norm, got"):
        PerBlock(norms, 2)


@pytest.mark.parametrize("call", ["norm", "dual", "lmo"])
def test_shapes_that_cannot_be_cut_are_refused(call):
    with pytest.raises(ValueError, match=r"5 rows of a tensor of shape \(5, 4\) make no 2 equal blocks"):
        getattr(PerHead(Spectral(), 2), call)(normal((5, 4)))
    with pytest.raises(ValueError, match=r"blocks of \(2, 3\) columns make 5, but a tensor of shape \(5, 4\) has 4"):
        getattr(PerBlock(Spectral(), (2, 3), "columns"), call)(normal((5, 4)))


@pytest.mark.parametrize("norm", [Spectral(), RMSOperator()], ids=str)
def test_fast_precision_is_about_right(norm):
    g = normal((30, 20), dtype=torch.float32)
    a = norm.lmo(g, "fast")
    assert norm(a) <= 1.02
    assert -inner(g, a) >= 0.98 * norm.dual(g)


@every_norm
def test_bfloat16_in_kind(norm):
    u = normal((6, 4), dtype=torch.bfloat16)
    for result, exact in ((norm(u), norm(u.double())), (norm.dual(u), norm.dual(u.double()))):
        assert result.dtype == torch.bfloat16
        assert result.item() == pytest.approx(exact.item(), rel=2e-2)
    assert norm.lmo(u).dtype == torch.bfloat16
    assert torch.allclose(norm.lmo(u).double(), norm.lmo(u.double()), atol=2e-2)


@every_norm
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_tensors(norm, shape):
    u = torch.zeros(fitted(norm, shape))
    assert torch.equal(norm(u), torch.zeros(shape[:-2]))
    assert torch.equal(norm.dual(u), torch.zeros(shape[:-2]))
    assert norm.lmo(u).shape == u.shape


@every_norm
def test_nan_is_passed_on(norm):
    g = normal(fitted(norm, (4, 3)))
    g[1, 1] = torch.nan
    assert norm(g).isnan()
    assert norm.lmo(g).isnan().any()


@every_norm
def test_arguments_are_left_alone(norm):
    g = normal(fitted(norm, (4, 3)))
    kept = g.clone()
    for operation in (norm, norm.dual, norm.lmo):
        operation(g).fill_(7.0)
        assert torch.equal(g, kept)


@every_norm
def test_norms_are_values(norm):
    twin: Norm = pickle.loads(pickle.dumps(norm))
    assert twin == norm
    assert hash(twin) == hash(norm)
    assert eval(repr(norm)) == norm
    assert [other == norm for other in NORMS].count(True) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        norm.radius = 2.0
