"""Whole models against an adversary, in their inputs and in their weights."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm
from modular_manifolds.modular.space import Space, conversion
from tests.modular import models
from tests.modular.attacks import (
    ROUNDING,
    Do,
    Proof,
    attack,
    draw,
    inside,
    length,
    starts,
    steepest,
    stretch,
    update_stretch,
)

MODULE = importlib.import_module("modular_manifolds.modular.modularize")
TOKENS = torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(0))


@dataclass
class Planned:
    """A model on its manifolds in float64, its plan, and the norms of its input and output."""

    model: nn.Module
    plan: mm.Plan
    input: Space
    output: Space
    bounds: dict[str, tuple[Space, float]]


def planned(model: nn.Module, x: Tensor, **options: Any) -> Planned:
    seen = []
    sweep = MODULE.sweep

    def recorded(graph: Any, setting: Any) -> Any:
        seen.append((graph, sweep(graph, setting)))
        return seen[-1][1]

    model = model.double().eval()
    with mock.patch.object(MODULE, "sweep", recorded):
        plan = mm.modularize(model, (x,), **options)
    plan.project_()
    graph, swept = seen[-1]
    spaces = [swept.states[nodes[0]].effect.space for nodes in (graph.inputs, graph.outputs)]
    bounds = {node.name: (state.effect.space, state.effect.bound) for node, state in swept.states.items()}
    return Planned(model, plan, spaces[0], spaces[1], bounds)


def points(found: Planned, x: Tensor, count: int) -> list[Tensor]:
    if not x.is_floating_point():
        generator = torch.Generator().manual_seed(1)
        return [torch.randint(7, x.shape, generator=generator) for _ in range(count)]
    return [inside(9 * point, found.input, found.plan.domain) for point in starts(tuple(x.shape), 1.0, count)]


def attacked(found: Planned, x: Tensor, *, count: int = 2, steps: int = 8) -> float:
    """The largest share of its guarantee that an update reaches."""
    climb = found.input if x.is_floating_point() else None
    best = update_stretch(found.plan, found.model, found.output, points(found, x, count), steps=steps, climb=climb)
    assert best <= found.plan.stretch * ROUNDING, f"{best} > {found.plan.stretch}\n{found.plan}"
    return best / found.plan.stretch


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    x: Tensor
    options: dict[str, Any]


def case(make: Callable[[], nn.Module], x: Tensor = TOKENS, **options: Any) -> Case:
    return Case(make, x, options)


X, IMAGES = draw(3, 4, 6), draw(2, 3, 8, 8)

PROVED = {
    "mlp": case(models.mlp, draw(3, 6)),
    "mlp on a small domain": case(models.mlp, draw(3, 6), domain=0.3),
    "mm.nn.GPT": case(lambda: mm.nn.GPT(7, 8, 2, 2)),
    "gpt": case(models.GPT),
    "gpt, fused": case(lambda: models.GPT(fused=True)),
    "gpt, rotary": case(lambda: models.GPT(rotary=True, d=16)),
    "gpt, grouped": case(lambda: models.GPT(kv=1)),
    "gpt, grouped and fewer": case(lambda: models.GPT(kv=2, heads=4, d=16, depth=1)),
    "gpt, norms with floors and gates": case(lambda: models.GPT(norm=True, gated=True)),
    "gpt, positions": case(lambda: models.GPT(positions=True)),
    "gpt, tied": case(lambda: models.GPT(tied=True)),
    "cnn": case(models.CNN, IMAGES),
    "cnn with maxima": case(lambda: models.CNN(pool=nn.MaxPool2d), IMAGES),
    "convolutions in groups": case(
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False)),
        IMAGES,
    ),
    "maxima of one convolution": case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1, bias=False)),
        draw(2, 3, 4, 4),
    ),
    "layer norm": case(
        lambda: nn.Sequential(nn.Linear(6, 6, bias=False), nn.LayerNorm(6, 0.2, elementwise_affine=False), nn.Tanh()),
        X,
        floor=None,
    ),
    "attention, fused and sharp": case(
        lambda: Do(lambda x, w: F.scaled_dot_product_attention(*[t.unflatten(-1, (3, 2)).transpose(
            1, 2) for t in F.linear(x, w).chunk(3, -1)], scale=2.0), (18, 6)), X
    ),
    "attention, fused and grouped": case(
        lambda: Do(lambda x, w: F.scaled_dot_product_attention(*[t.unflatten(-1, (-1, 2)).transpose(
            1, 2) for t in F.linear(x, w).split([6, 2, 2], -1)], enable_gqa=True), (10, 6)), X
    ),
    "attention, fused by heads": case(
        lambda: Do(lambda x, w: F.scaled_dot_product_attention(*F.linear(x, w).view(3, 4, 3, 3, 2).permute(
            2, 0, 3, 1, 4).unbind(0), scale=1.5), (18, 6)), X
    ),
    "attention by hand": case(
        lambda: Do(lambda x, q, k: ((x @ q).view(3, 4, 3, 2).transpose(1, 2) @ (x @ k).view(3, 4, 3, 2).permute(
            0, 2, 3, 1)).softmax(-1) @ x.view(3, 4, 3, 2).transpose(1, 2), (6, 6), (6, 6)), X
    ),
}  # fmt: skip
FREE = {
    "mlp with biases": case(lambda: models.mlp(bias=True), draw(3, 6)),
    "gpt with biases": case(lambda: models.GPT(bias=True)),
    "gpt with biases, fused": case(lambda: models.GPT(bias=True, fused=True)),
    "cnn with biases": case(lambda: models.CNN(bias=True), IMAGES),
    "layer norm with gains": case(lambda: nn.LayerNorm(6, eps=0.2), X, floor=None),
    "layer norm with gains, small domain": case(lambda: nn.LayerNorm(6, eps=1e-6), X, floor=None, domain=0.01),
    "gains": case(lambda: Do(lambda x, g, b: x * g + b, (6,), (6,)), X, domain=0.5),
    "group norm": case(lambda: nn.GroupNorm(2, 4, eps=0.2), draw(2, 4, 3, 3), floor=None),
    "batch norm": case(lambda: nn.BatchNorm1d(6), draw(3, 6), domain=0.1),
    "a bias of heads": case(
        lambda: Do(lambda x, b: (x + b).view(3, 4, 3, 2).transpose(1, 2).square().sum(-1), (6,)), X
    ),
    "a table of heads": case(lambda: Do(lambda x, b: (x + b).view(3, 4, 3, 2).square().sum(-1), (4, 6)), X),
    "a table of logits": case(lambda: Do(lambda x, b: (x @ x.mT / 6 + b).softmax(-1) @ x, (4, 4)), X),
    "a mask that is learned": case(
        lambda: Do(lambda x, b: F.scaled_dot_product_attention(x, x, x, attn_mask=b), (4, 4)), X
    ),
    "gains that are made": case(lambda: Do(lambda x, g: (1 + g) * x, (6,)), X),
    "gains of two weights": case(lambda: Do(lambda x, g, h: (g * h - 2 * h + g / 3) * x, (6,), (1,)), X),
    "a bias that is made": case(lambda: Do(lambda x, w, b: F.linear(x, w, b.tanh()), (6, 6), (6,)), X),
    "a table, turned": case(lambda: Do(lambda x, b: x + b.t(), (6, 4)), X),
    "a table, doubled": case(lambda: Do(lambda x, b: torch.add(x, b, alpha=2), (4, 6)), X),
    "a part of a table": case(lambda: Do(lambda x, b: x + b[:4], (9, 6)), X),
    "a token in front": case(lambda: Do(lambda x, b: torch.cat([b.expand(3, -1, -1), x], 1), (1, 1, 6)), X),
    "a gain through softplus": case(lambda: Do(lambda x, g: x * F.softplus(g), (6,)), X),
    "a scalar": case(lambda: Do(lambda x, g: x * g, ()), X),
    "one number added": case(lambda: Do(lambda x, g: x + g, (1,)), X),
}  # fmt: skip


@pytest.mark.parametrize("name", PROVED)
def test_no_update_exceeds_a_proved_plan(name):
    chosen = PROVED[name]
    found = planned(chosen.make(), chosen.x, **chosen.options)
    assert found.plan.proved, found.plan
    assert all(entry.proved for entry in found.plan.values()), found.plan
    attacked(found, chosen.x)


@pytest.mark.parametrize("name", FREE)
def test_no_update_exceeds_a_plan_where_what_it_assumes_holds(name):
    """Free weights are taken to be as they are now, and here they are."""
    chosen = FREE[name]
    found = planned(chosen.make(), chosen.x, **chosen.options)
    attacked(found, chosen.x)


@pytest.mark.parametrize("name", ["mlp", "gpt", "gpt, norms with floors and gates", "cnn"])
def test_no_activation_exceeds_its_bound_in_a_plan(name):
    chosen = PROVED[name]
    found = planned(chosen.make(), chosen.x, **chosen.options)
    proof = Proof(found.model, chosen.x)
    for x in points(found, chosen.x, 4):
        for node, value in proof.values(x).items():
            space, bound = found.bounds.get(node, (None, inf))
            if (
                bound < inf
                and space is not None
                and isinstance(value, Tensor)
                and value.is_floating_point()
                and space.shape == tuple(value.shape)
            ):
                assert float(length(value, space)) <= bound * ROUNDING, node


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_input_reaches_the_output_stretched_by_no_more_than_a_plan_says(name):
    chosen = PROVED[name]
    found = planned(chosen.make(), chosen.x, **chosen.options)
    sizes = stretch(found.model, tuple(chosen.x.shape), 1.0, count=6)
    shown = Space.samples(tuple(chosen.x.shape))
    assert sizes.rms <= found.plan.sensitivity * conversion(shown, found.input) * ROUNDING


def wide(model: nn.Module) -> nn.Module:
    """With weights that no plan has been near."""
    model = model.double()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(0.7 * draw(*p.shape, seed=i))
    return model


class Front(nn.Module):
    """A transformer without its embedding, which takes vectors."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.gpt = models.GPT(**options)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.gpt.blocks:
            x = block(x)
        return self.gpt.unembed(x)


CERTIFIED = {
    "mlp": (lambda: models.mlp(bias=True), (2, 6), None),
    "cnn": (lambda: models.CNN(bias=True), (1, 3, 6, 6), None),
    "cnn with maxima": (lambda: models.CNN(bias=True, pool=nn.MaxPool2d), (1, 3, 6, 6), None),
    "gpt": (lambda: Front(bias=True, depth=1), (2, 4, 8), 0.7),
    "gpt, fused": (lambda: Front(fused=True, depth=1), (2, 4, 8), 0.7),
    "gpt, grouped": (lambda: Front(kv=1, depth=1), (2, 4, 8), 0.7),
    "gpt, norms and gates": (lambda: Front(norm=True, gated=True, rotary=True, depth=1), (2, 4, 8), 1.0),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, layer_norm_eps=0.3, batch_first=True), (2, 4, 8), 0.5
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CERTIFIED)
def test_no_change_of_the_input_exceeds_a_certificate(name):
    make, shape, domain = CERTIFIED[name]
    attack(wide(make()), draw(*shape), domain, steps=6, count=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", CERTIFIED)
def test_no_change_of_the_input_exceeds_a_certificate_after_a_long_ascent(name):
    make, shape, domain = CERTIFIED[name]
    attack(wide(make()), draw(*shape), domain, steps=40, count=18)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PROVED, *FREE])
def test_no_update_exceeds_a_plan_after_a_long_ascent(name):
    chosen = {**PROVED, **FREE}[name]
    found = planned(chosen.make(), chosen.x, **chosen.options)
    attacked(found, chosen.x, count=6, steps=30)


def test_token_changes():
    """Tokens that differ are sqrt(2) apart in l2 and 2 in l1, and every pair of sequences differs by no more."""
    model = wide(models.GPT(depth=1))
    certificate = mm.certify(model, (TOKENS,))
    assert certificate.lipschitz < inf
    generator = torch.Generator().manual_seed(0)
    for changed in (1, 2, 5):
        for _ in range(20):
            other = TOKENS.clone()
            other[:, :changed] = torch.randint(7, (3, changed), generator=generator)
            moved = (other != TOKENS).sum(1).double()
            with torch.no_grad():
                change = model(other) - model(TOKENS)
            l2 = change.flatten(1).norm(dim=1)
            assert (l2 <= certificate.lipschitz * (2 * moved).sqrt() * ROUNDING + 1e-12).all()
            rms = change.square().mean(-1).sqrt().amax(1)
            assert (rms <= certificate.lipschitz_rms * 2 * (moved > 0) * ROUNDING + 1e-12).all()


def test_numbers_made_of_tokens_are_unbounded():
    """Tokens are names; as numbers, 0 and 1000 are further apart than two names can be."""
    certificate = mm.certify(Do(lambda t, w: t.to(w.dtype) @ w, (5, 3)), (TOKENS,))
    assert certificate.lipschitz == inf
    assert mm.certify(Do(lambda t: F.one_hot(t, 7).double()), (TOKENS,)).lipschitz == inf
    names_of_numbers = Do(lambda x, w: F.embedding(x.to(torch.int64), w), (5, 3))
    assert mm.certify(names_of_numbers, (draw(2, 3).abs(),), 1.0).lipschitz == inf


def test_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y, 2 * x, torch.ones(3)

    x, y = draw(2, 6), draw(2, 6, seed=1)
    certificate = mm.certify(Two(), (x, y))
    assert certificate.lipschitz >= 6**0.5 - 1e-9  # of [[1, 1], [2, 0]]: sqrt(3 + sqrt(5)), and no more than both
    assert certificate.lipschitz_rms >= 2


def test_a_declared_floor_holds_where_inputs_are_as_long():
    """The sensitivities behind a normalisation are estimates, and right where what enters it measures at least 1."""
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.RMSNorm(6, 1e-6, False), nn.Linear(6, 3, bias=False))
    found = planned(model, X)
    assert not found.plan.proved
    unit = [steepest(x, found.input) for x in starts(tuple(X.shape), 1.0, 6)]
    assert update_stretch(found.plan, model, found.output, unit) <= found.plan.stretch * ROUNDING
    short = update_stretch(found.plan, model, found.output, [0.01 * x for x in unit])
    assert short > 0.5 * found.plan.stretch
