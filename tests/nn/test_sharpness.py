"""Bounds on second derivatives: the published closed forms, and a search that never exceeds them."""

from math import inf, sqrt

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jvp

from modular_manifolds import nn
from modular_manifolds.nn.sharpness import composed, parallel
from tests.nn.stretch import Ascent, draw, size, unit, unit_update

pytestmark = pytest.mark.usefixtures("float64")

SLACK = 1 + 1e-9


class Sine(nn.Bond):
    """sin(x), whose second derivative is at most 1 in every entry, and sqrt(width) in root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.curvature = nn.Sharpness(0.0, 0.0, sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


class Sharp(nn.Linear):
    """A leaf that says what it is told."""

    def __init__(self, sharpness: nn.Sharpness, mass: float = 1.0, stretch: float = 1.0) -> None:
        super().__init__(2, 2, mass=mass)
        self.told, self.stretch = sharpness, stretch

    @property
    def sharpness(self) -> nn.Sharpness:
        return self.told


def values(sharpness: nn.Sharpness) -> tuple[float, float, float]:
    return sharpness.alpha, sharpness.beta, sharpness.gamma


def test_published_leaves_and_bonds():
    leaves = [nn.Linear(3, 4), nn.Linear(4, 4, heads=2), nn.Embedding(3, 4), nn.Conv1d(3, 4, 2), nn.Conv2d(3, 4, 2)]
    assert {leaf.sharpness for leaf in leaves} == {nn.Sharpness(0, 1, 0)}
    assert nn.AttentionCore(2).sharpness == nn.Sharpness(0, 0, 3)
    linear = [nn.Identity(), nn.Add(), nn.Mul(-2), nn.Flatten(), nn.Mean(), nn.AvgPool2d(2), nn.Rope(), nn.Bias(3)]
    assert {bond.sharpness for bond in linear} == {nn.Sharpness(0, 0, 0)}
    assert {b.sharpness for b in (nn.ReLU(), nn.GELU(), nn.Tanh(), nn.RMSNorm())} == {nn.Sharpness(0, 0, inf)}


def test_the_published_rules():
    """Those of arXiv 2405.14813, in numbers that tell the terms apart."""
    first, second = nn.Sharpness(2.0, 3.0, 5.0), nn.Sharpness(7.0, 11.0, 13.0)
    p1, p2, mu1, mu2 = 0.25, 0.75, 1.7, 0.6
    module = Sharp(second, 3.0, mu2) @ Sharp(first, 1.0, mu1)
    a = 2 * p1**2 / mu2 + 7 * p2**2 + 2 * 11 * p1 * p2 / mu2 + 13 * p1**2 / mu2**2
    b = 3 * p1 + mu1 * p2 * 11 + mu1 / mu2 * p1 * 13
    assert values(module.sharpness) == pytest.approx((a, b, mu2 * 5 + mu1**2 * 13))
    pair = nn.Tuple(Sharp(first, 1.0), Sharp(second, 3.0))
    assert values(pair.sharpness) == pytest.approx((2 * p1**2 + 7 * p2**2, 3 * p1 + 11 * p2, 18))


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_weights_reach_furthest_where_attention_is_least_sensitive(scale):
    """Before a tuple whose members count differently: updates over the smallest sensitivity, times the largest."""
    least, most, core = min(scale, 1.0), max(scale, 1.0), 2 * scale**2 + scale
    qkv = nn.Tuple(*(Sharp(nn.Sharpness(2.0, 3.0, 5.0)) for _ in range(3)))
    sharpness = (nn.AttentionCore(1, softmax_scale=scale) @ qkv).sharpness
    alpha = most * (2 / 3) / least**2 + core / least**2
    assert values(sharpness) == pytest.approx((alpha, (3 * most + 3 * core) / least, 15 * most + 9 * core))


@pytest.mark.parametrize("depth", [1, 2, 3, 12, 48])
def test_towers_have_the_closed_form(depth):
    """a + b (L - 1)/L + c (L - 1)(2L - 1)/(6 L^2), b + c (L - 1)/(2 L), c: bounded for any depth."""
    a, b, c = 2.0, 3.0, 5.0
    tower = nn.tower(Sharp(nn.Sharpness(a, b, c)), depth)
    part = (depth - 1) / depth
    expected = a + b * part + c * part * (2 * depth - 1) / (6 * depth), b + c * part / 2, c
    assert values(tower.sharpness) == pytest.approx(expected, rel=1e-12)
    assert values(tower.tare(5.0).sharpness) == pytest.approx(expected, rel=1e-12)


def test_composition_is_associative():
    parts = [Sharp(nn.Sharpness(i + 1.0, 2.0 * i, 3.0 - i), i + 1.0, 0.5 + i) for i in range(3)]
    a, b, c = ({name: part} for name, part in zip("abc", parts, strict=True))
    left = nn.Compose({"ab": nn.Compose({**a, **b}), **c})
    right = nn.Compose({**a, "bc": nn.Compose({**b, **c})})
    flat = parts[2] @ parts[1] @ parts[0]
    assert values(left.sharpness) == pytest.approx(values(right.sharpness))
    assert values(flat.sharpness) == pytest.approx(values(left.sharpness))


def test_unknown_bounds_only_matter_to_what_moves():
    kinked = nn.ReLU().sharpness
    assert composed(kinked, nn.Sharpness(0, 0, 0), (0.0, 0.0), (1.0, 1.0)) == kinked
    assert (nn.Linear(2, 2) @ nn.ReLU()).sharpness == nn.Sharpness(0, 1, inf)
    assert (nn.ReLU() @ nn.Linear(2, 2)).sharpness == nn.Sharpness(inf, inf, inf)
    assert parallel([(0.0, nn.Sharpness()), (1.0, nn.Sharpness(0, 1, 0))]) == nn.Sharpness(0, 1, inf)
    assert (nn.ReLU() @ nn.Linear(2, 2, mass=0.0)).sharpness == nn.Sharpness(0, 0, inf)
    assert (0.0 * nn.Linear(2, 2)).sharpness.gamma == 0

    class Unknown(nn.Identity):
        sharpness = nn.Module.sharpness

    assert Unknown().sharpness == nn.Sharpness(inf, inf, inf)


def shared() -> nn.Module:
    linear = nn.Linear(2, 2, mass=2.0)
    return linear @ Sine(2) @ nn.Linear(2, 2) @ linear


# how to make it, the shape of its input, and how near to alpha, beta and gamma a search is known to get
SMOOTH = {
    "linear": (lambda: nn.Linear(3, 4), (8, 3), (0, 0.95, 0)),
    "two linear": (lambda: nn.Linear(3, 3) @ nn.Linear(3, 3, mass=3.0), (8, 3), (0.9, 0.9, 0)),
    "scaled": (lambda: 0.5 * nn.Linear(3, 3) @ nn.Mul(3) @ nn.Linear(3, 3), (8, 3), (0.9, 0.9, 0)),
    "sines": (lambda: nn.Linear(2, 2) @ Sine(2) @ nn.Linear(2, 2) @ Sine(2), (8, 2), (0.4, 0.5, 0.35)),
    "sum": (lambda: Sine(2) @ nn.Linear(2, 2) - 2.0 * nn.Linear(2, 2) @ Sine(2), (8, 2), (0.9, 0.5, 0.9)),
    "shared": (shared, (8, 2), (0.15, 0.2, 0.9)),
    "tower": (lambda: nn.tower(nn.Linear(2, 2) @ Sine(2) @ nn.Linear(2, 2), 2), (8, 2), (0.15, 0.25, 0.35)),
    "attention": (lambda: nn.Attention(4, 2, causal=False), (6, 3, 4), (0.1, 0.1, 0.15)),
    "sharper attention": (lambda: nn.Attention(4, 2, softmax_scale=3.0), (6, 3, 4), (0.015, 0.03, 0.003)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_no_second_derivative_exceeds_its_bound(name):
    make, shape, near = SMOOTH[name]
    module = make()
    names = [name for name, _ in module.named_parameters()]

    def moved(tensors, w):
        """The point, and two directions in the weights and two in the input, all of size 1."""
        x, u, v = (unit(t) for t in tensors[:3])
        raw = [dict(zip(names, ts, strict=True)) for ts in (tensors[3 : 3 + len(names)], tensors[3 + len(names) :])]
        return x, u, v, *(unit_update(module, r) for r in raw)

    def mixed(f, one, other):
        """The second derivative of f along two directions, at zero."""
        zero = torch.zeros(())
        return jvp(lambda t: jvp(lambda s: f(t, s, one, other), (zero,), (zero + 1,))[1], (zero,), (zero + 1,))[1]

    def step(w, t, dw):
        return {name: p + t * dw[name] for name, p in w.items()}

    def alpha(tensors, w):
        x, _, _, dw, dv = moved(tensors, w)
        return size(mixed(lambda t, s, a, b: functional_call(module, step(step(w, t, a), s, b), (x,)), dw, dv))

    def beta(tensors, w):
        x, u, _, dw, _ = moved(tensors, w)
        return size(mixed(lambda t, s, a, b: functional_call(module, step(w, t, a), (x + s * b,)), dw, u))

    def gamma(tensors, w):
        x, u, v, _, _ = moved(tensors, w)
        return size(mixed(lambda t, s, a, b: functional_call(module, w, (x + t * a + s * b,)), u, v))

    shapes = [shape] * 3 + [tuple(p.shape) for p in module.parameters()] * 2
    for objective, bound, close in zip((alpha, beta, gamma), values(module.sharpness), near, strict=True):
        ascent = Ascent(module, [draw(*s, seed=i) for i, s in enumerate(shapes)])
        found = max(ascent.step(objective) for _ in range(25 if bound else 2))
        assert close * bound <= found <= bound * SLACK + 1e-15


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_attention_on_queries_keys_and_values(scale):
    core = nn.AttentionCore(1, causal=False, softmax_scale=scale)

    def objective(tensors, _):
        point = tuple(unit(t) for t in tensors[:3])
        one, other = (tuple(tensors[3 * i : 3 * i + 3]) for i in (1, 2))
        one, other = (tuple(t / size(d)[:, None, None] for t in d) for d in (one, other))
        return size(jvp(lambda *x: jvp(lambda *y: core(y), x, one)[1], point, other)[1])

    ascent = Ascent(core, [draw(8, 3, 4, seed=seed) for seed in range(9)])
    found = max(ascent.step(objective) for _ in range(100))
    assert 0.3 * core.sharpness.gamma < found < core.sharpness.gamma * SLACK
