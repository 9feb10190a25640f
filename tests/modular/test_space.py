"""The arithmetic of norms: no conversion is below the worst case, and where one axis changes it is the worst case."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modular_manifolds.modular.space import Space, broadcast, conversion, finer
from tests.modular.attacks import ROUNDING, draw, length

ROLES = ("max", "sum", "rms")


def axes(size: int) -> st.SearchStrategy:
    """A dimension of this size, cut in some way into axes."""
    cuts = [(size,), *[(d, size // d) for d in range(2, size) if size % d == 0]]
    return st.sampled_from(cuts).flatmap(
        lambda cut: st.tuples(*[st.tuples(st.just(n), st.sampled_from(ROLES)) for n in cut])
    )


def spaces(shape: tuple[int, ...]) -> st.SearchStrategy[Space]:
    def build(dims: tuple) -> Space:
        space = Space.of(shape, "max")
        for d, dim in enumerate(dims):
            space = space.with_dim(d, dim)
        return space

    return st.tuples(*[axes(n) for n in shape]).map(build)


SHAPES = st.sampled_from([(2, 3), (4,), (6, 2), (2, 2, 3), (12,), (4, 6), (1, 5), (2, 1, 4)])
TWO = SHAPES.flatmap(lambda shape: st.tuples(spaces(shape), spaces(shape)))


def candidates(shape: tuple[int, ...]) -> list[Tensor]:
    """Where worst cases are: one entry, all alike, one of every row or column, diagonals, and chance."""
    n = prod(shape)
    flat = [torch.eye(n, dtype=torch.float64)[0], torch.ones(n, dtype=torch.float64), draw(n)]
    flat += [(torch.arange(n) % k == 0).double() for k in range(2, n)]
    flat += [(torch.arange(n) < k).double() for k in range(2, n)]
    flat += [(draw(n, seed=s) > 0.7).double() for s in range(8)]
    return [x.reshape(shape) for x in flat if x.any()]


def worst(source: Space, target: Space, steps: int = 0) -> float:
    """The largest ratio of the two norms found."""
    best = 0.0
    for x in candidates(source.shape):
        for step in range(steps + 1):
            x = x.detach().requires_grad_(step < steps)
            ratio = length(x, target) / length(x, source)
            best = max(best, float(ratio.detach()))
            if step < steps:
                (g,) = torch.autograd.grad(ratio, x)
                x = x + 0.3 * x.abs().max() * g / g.abs().max().clamp_min(1e-300)
    return best


@settings(max_examples=120, deadline=None, derandomize=True)
@given(TWO)
def test_no_conversion_is_below_the_worst_case(pair):
    source, target = pair
    assert worst(source, target) <= conversion(source, target) * ROUNDING


@settings(max_examples=12, deadline=None, derandomize=True)
@given(TWO)
def test_no_conversion_is_below_what_an_ascent_finds(pair):
    source, target = pair
    assert worst(source, target, steps=15) <= conversion(source, target) * ROUNDING


@pytest.mark.parametrize("old", ROLES)
@pytest.mark.parametrize("new", ROLES)
@pytest.mark.parametrize("n", [2, 5])
def test_conversions_of_one_axis_are_the_worst_case(old, new, n):
    source, target = Space.of((n,), old), Space.of((n,), new)
    assert worst(source, target) == pytest.approx(conversion(source, target), rel=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SHAPES.flatmap(spaces), SHAPES)
def test_a_view_has_the_same_norm(space, shape):
    if prod(shape) != prod(space.shape):
        return
    x = draw(*space.shape)
    viewed = space.reshaped(shape)
    if viewed is not None:
        assert viewed.shape == shape
        assert length(x.reshape(shape), viewed) == pytest.approx(float(length(x, space)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SHAPES.flatmap(spaces))
def test_a_permutation_has_the_same_norm(space):
    order = list(range(len(space.shape)))[::-1]
    x = draw(*space.shape)
    assert length(x.permute(order), space.permuted(order)) == pytest.approx(float(length(x, space)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SHAPES.flatmap(spaces))
def test_what_is_repeated_is_as_long(space):
    shape = (3, *(4 if n == 1 else n for n in space.shape))
    x = draw(*space.shape)
    out, factor = broadcast(space, shape)
    assert float(length(x.expand(shape), out)) == pytest.approx(factor * float(length(x, space)))


def test_heads_and_their_entries():
    heads = Space.of((2, 12), "max").with_dim(1, ((3, "max"), (4, "rms")))
    rows = Space.of((2, 12), ("max", "rms"))
    assert heads.reshaped((2, 3, 4)) == Space.of((2, 3, 4), ("max", "max", "rms"))
    assert conversion(rows, heads) == pytest.approx(3**0.5)
    assert conversion(heads, rows) == 1
    assert heads.reshaped((2, 4, 3)) is None or heads.reshaped((2, 4, 3)).shape == (2, 4, 3)
    assert heads.entries == 4
    assert rows.entries == 12
    assert heads.role(1) is None
    assert str(heads) == "(2 max) x (3 max)(4 rms)"
    assert finer(rows, heads) is heads
    assert finer(None, rows) is rows


def test_a_maximum_of_sums_is_not_bounded_by_its_size_as_a_mean_of_them():
    source = Space.of((4, 4), ("max", "sum"))  # the identity measures 1 here,
    target = Space.of((4, 4), ("rms", "sum"))  # and 4 / sqrt(4) here
    assert length(torch.eye(4, dtype=torch.float64), target) == 2
    assert conversion(source, target) >= 2
