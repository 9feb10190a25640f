"""No input and no update is stretched by more than sensitivities and budgets say: searched for, in float64."""

import pytest
import torch
from torch.func import jvp

from modular_manifolds import nn
from tests.nn.stretch import Ascent, draw, formula, input_stretch, size, unit, unit_update, weight_stretch

pytestmark = pytest.mark.usefixtures("float64")

SLACK = 1 + 1e-9


def gpt_after_embedding(**settings) -> nn.Module:
    gpt = nn.GPT(7, 8, 2, 2, **settings)
    return nn.Compose({name: part for name, part in gpt.named_children() if name != "embedding"})


def conv() -> nn.Module:
    body = nn.AvgPool2d(2) @ nn.ReLU() @ nn.Conv2d(6, 6, 3, padding=1) @ nn.ReLU() @ nn.Conv2d(3, 6, 3, padding=1)
    return nn.Linear(6 * 4, 5) @ nn.Flatten() @ body


def shared() -> nn.Module:
    linear = nn.Linear(6, 6)
    return linear @ nn.ReLU() @ linear + 0.5 * linear


# how to make it, the shape of its input, the axis of its features, and how near to the bounds a search is known to get
NETWORKS = {
    "mlp": (lambda: nn.MLP(6, 9, 4, 3), (8, 6), -1, 0.95, 0.95),
    "gpt": (gpt_after_embedding, (6, 4, 8), -1, 0.7, 0.35),
    "gpt, sharper": (lambda: gpt_after_embedding(softmax_scale=6.0, final_scale=2.0), (6, 4, 8), -1, 0.4, 0.3),
    "attention": (lambda: nn.Attention(8, 4), (8, 4, 8), -1, 0.65, 0.3),
    "attention both ways": (lambda: nn.Attention(8, 4, causal=False, rope=True), (8, 4, 8), -1, 0.65, 0.4),
    "attention of one head": (lambda: nn.Attention(4, 1, softmax_scale=4.0), (8, 3, 4), -1, 0.8, 0.3),
    "conv": (conv, (4, 3, 4, 4), 1, 0.45, 0.4),
    "strided conv": (lambda: nn.Conv2d(3, 5, (2, 3), stride=2), (6, 3, 5, 6), 1, 0.95, 0.95),
    "conv along time": (lambda: nn.Mean(-1) @ nn.Conv1d(4, 3, 5, padding=2), (6, 4, 7), 1, 0.75, 0.75),
    "tower": (lambda: nn.tower(nn.Linear(8, 8) @ nn.GELU() @ nn.Linear(8, 8), 3), (6, 8), -1, 0.95, 0.8),
    "difference": (lambda: nn.Identity() - 0.5 * nn.Linear(6, 6) @ nn.Tanh() * 2, (6, 6), -1, 0.95, 0.9),
    "shared": (shared, (6, 6), -1, 0.95, 0.95),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_are_stretched_by_no_more_than_the_sensitivity(name):
    make, shape, dim, near, _ = NETWORKS[name]
    module = make()
    found = input_stretch(module, shape, dim=dim) / module.sensitivity
    assert near < found < SLACK


@pytest.mark.parametrize("name", NETWORKS)
def test_updates_of_unit_modular_norm_move_the_output_by_at_most_1(name):
    make, shape, dim, _, near = NETWORKS[name]
    assert near < weight_stretch(make(), unit(draw(*shape), dim), dim=dim) < SLACK


@pytest.mark.parametrize(("context", "depth"), [(None, 1), (5, 3)])
def test_updates_of_a_gpt_from_the_tokens_on(context, depth):
    gpt = nn.GPT(7, 8, 2, depth, context=context)
    tokens = torch.randint(7, (4, 5))
    assert 0.35 < weight_stretch(gpt, tokens, steps=15) < SLACK
    assert size(gpt.embedding(tokens)).max() < SLACK


def test_a_bias_where_it_is_zero():
    module = nn.Linear(6, 3) @ nn.Bias(6)
    assert 0.95 < input_stretch(module, (8, 6)) < SLACK
    x, u = unit(draw(8, 6)), unit_update(module, {name: draw(*p.shape) for name, p in module.named_parameters()})
    moved = jvp(lambda w: torch.func.functional_call(module, w, (x,)), (dict(module.named_parameters()),), (u,))[1]
    assert 0.3 < size(moved).max() < SLACK


@pytest.mark.parametrize(
    ("bond", "shape", "dim", "inside"),
    [
        (nn.ReLU(), (4, 5), -1, 1.0),
        (nn.GELU(), (4, 5), -1, 1.5),
        (nn.Tanh(), (4, 5), -1, 0.01),
        (nn.RMSNorm(), (4, 5), -1, 0.99),
        (nn.RMSNorm(0.25), (4, 5), -1, 0.2),
        (nn.RMSNorm(0.25), (4, 5), -1, 0.3),
        (nn.Flatten(), (4, 3, 2, 2), 1, 1.0),
        (nn.Mean(), (4, 6, 3), -1, 1.0),
        (nn.AvgPool2d(2), (4, 3, 4, 4), 1, 1.0),
        (nn.Rope(), (4, 9, 6), -1, 1.0),
        (nn.Mul(-3.0), (4, 5), -1, 1.0),
        (nn.Add() @ (nn.Identity(), nn.Mul(0.5)) @ nn.Mul(2), (4, 5), -1, 1.0),
    ],
    ids=str,
)
def test_bonds(bond, shape, dim, inside):
    found = input_stretch(bond, shape, dim=dim, inside=inside) / bond.sensitivity
    assert 0.8 < found < SLACK


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_attention_is_as_sensitive_to_each_input_as_it_says(scale):
    """Queries, keys and values of RMS 1 in every head; one of them moves at a time."""
    core = nn.AttentionCore(2, causal=False, softmax_scale=scale)
    assert core.pullback() == (scale, scale, 1.0)
    for i, bound in enumerate(core.pullback()):

        def objective(raw, _, i=i):
            qkv, u = [unit(x, heads=2) for x in raw[:3]], unit(raw[3], heads=2)
            moved = jvp(lambda x: core((*qkv[:i], x, *qkv[i + 1 :])), (qkv[i],), (u,))[1]
            return torch.stack([size(part) for part in moved.chunk(2, -1)]).amax(0)

        ascent = Ascent(core, [draw(8, 4, 6, seed=seed) for seed in range(4)])
        found = max(ascent.step(objective) for _ in range(100))
        assert 0.6 * bound < found < bound * SLACK


def test_the_slope_of_gelu():
    x = torch.linspace(-3, 3, 100_001)
    with formula():
        slope = jvp(nn.GELU(), (x,), (torch.ones_like(x),))[1]
    assert slope.max().item() == pytest.approx(1, abs=1e-9)
    assert nn.GELU().sensitivity == 1
