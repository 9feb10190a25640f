"""Claims that published certificates make and that are false, each measured beside the bound that holds."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm
from modular_manifolds.manifolds import Product
from modular_manifolds.norms import PerHead
from tests.modular.attacks import Do, attack, draw, formula, inside, length, shown, stretch

TOKENS, FEATURES = 6, 24


def slope(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Of a function of one entry at a time, at x."""
    return float(jvp(function, (x,), (torch.ones_like(x),))[1].detach().abs().max())


# attention of several heads, bounded by norms of the full matrices


class HeadsByTheFullMatrix(nn.Module):
    """All four matrices of spectral norm 1, a third of it, logits <q, k> / d_head: claimed to be 1-Lipschitz."""

    def __init__(self, heads: int, d: int = FEATURES) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(d, d, bias=False) for _ in range(4))
        with torch.no_grad():
            for layer in (self.query, self.key, self.value, self.output):
                layer.weight.copy_(torch.eye(d))
            self.key.weight[d // 2 :] *= -1

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, scale=1 / q.shape[-1])
        return self.output(y.transpose(1, 2).flatten(-2) / 3)


def _concentrated(heads: int, seed: int) -> Tensor:
    """Tokens of RMS 1, all of it in one head: there they are sqrt(heads) long."""
    x = torch.zeros(1, TOKENS, FEATURES, dtype=torch.float64)
    size = FEATURES // heads
    x[..., :size] = draw(1, TOKENS, size, seed=seed).sign()
    return x / x.square().mean(-1, keepdim=True).sqrt()


@pytest.mark.parametrize("heads", [1, 2, 4, 6, 8])
def test_full_matrix_norms_do_not_bound_attention_of_several_heads(heads):
    model = HeadsByTheFullMatrix(heads).double()
    claimed = (1 + 2 * 1) / 3  # o (v + 2 v a^2 q k) / 3 with every norm 1
    proved = mm.certify(model, (draw(1, TOKENS, FEATURES),), 1.0)
    found = _ascend(model, heads)
    assert found <= proved.lipschitz_rms * (1 + 1e-9)
    if heads >= 4:
        assert found > 1.2 * claimed, f"{heads} heads: {found}"
    assert (proved.lipschitz_rms > claimed + 1e-6) == (heads > 1)


def _ascend(model: nn.Module, heads: int) -> float:
    """The largest stretch in RMS by the token, from tokens that are long in one head."""
    space, best = shown((1, TOKENS, FEATURES), output=False), 0.0
    for seed in range(4):
        raw = (_concentrated(heads, seed) + 0.05 * draw(1, TOKENS, FEATURES, seed=seed)).requires_grad_()
        u = _concentrated(heads, seed + 50).requires_grad_()
        optimizer = torch.optim.Adam([raw, u], 0.1)
        with formula():
            for _ in range(60):
                x = raw / raw.square().mean(-1, keepdim=True).sqrt()
                moved = jvp(model, (x,), (u,))[1]
                ratio = length(moved, space) / length(u, space)
                best = max(best, float(ratio.detach()))
                optimizer.zero_grad()
                (-ratio.log()).backward()
                optimizer.step()
    return best


def test_attention_is_longer_than_full_matrix_norms_say():
    """Every head attends to a token that is long in it: the output is not a third as long as the inputs, but more."""
    heads = 8
    model = HeadsByTheFullMatrix(heads).double()
    with torch.no_grad():
        model.key.weight.copy_(torch.eye(FEATURES))
        size = FEATURES // heads
        x = torch.zeros(1, heads, FEATURES, dtype=torch.float64)
        for h in range(heads):
            x[0, h, h * size : (h + 1) * size] = heads**0.5
        y = model(x * 1.0)
    assert mm.certify(model, (x,), 1.0).layers[-1].bound >= float(y.square().mean(-1).sqrt().max()) > 1 / 3


def test_a_plan_measures_queries_keys_and_values_by_the_head():
    plan = mm.modularize(HeadsByTheFullMatrix(4), (torch.zeros(1, TOKENS, FEATURES),))
    for name in ("query", "key", "value"):
        geometry = plan[f"{name}.weight"].geometry
        assert isinstance(geometry.norm, PerHead)
        assert geometry.norm.heads == 4
        assert isinstance(geometry.manifold, Product)
        assert len(geometry.manifold.factors) == 4
    assert not isinstance(plan["output.weight"].geometry.norm, PerHead)


@pytest.mark.parametrize("heads", [2, 4, 6, 8])
def test_on_a_plans_manifolds_attention_stretches_by_no_more_than_1(heads):
    model = HeadsByTheFullMatrix(heads).double()
    plan = mm.modularize(model, (torch.zeros(1, TOKENS, FEATURES, dtype=torch.float64),))
    assert plan.proved
    assert plan.sensitivity == pytest.approx(1, abs=1e-9)
    plan.project_()
    assert _ascend(model, heads) <= 1 + 1e-9


# GELU


def test_the_tanh_form_of_gelu_is_steeper_than_the_published_constant():
    steepest = torch.linspace(1.3, 1.5, 200001, dtype=torch.float64)
    scaled = Do(lambda x: F.gelu(x, approximate="tanh") / 1.1289)
    found = slope(scaled, steepest)
    assert found > 1  # the claim
    assert found <= mm.certify(scaled, (draw(2, 3),)).lipschitz <= 1.0002
    exact = slope(F.gelu, steepest)
    assert 1.128904 < exact <= mm.certify(Do(F.gelu), (draw(2, 3),)).lipschitz < 1.1289046


def test_gelu_by_hand_is_as_steep_as_its_tanh_form():
    by_hand = Do(lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3.0)))))
    assert mm.certify(by_hand, (draw(2, 3),)).lipschitz == pytest.approx(1.129, rel=1e-6)


def test_gelu_that_is_divided_once_is_not_to_be_divided_twice():
    """A layer that divides by 1.1289 has the product of its matrices' norms as its bound, not that over 1.1289."""
    d = 8
    model = Do(lambda x, w, v: F.linear(F.gelu(F.linear(x, w)) / 1.1289, v), (d, d), (d, d)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.eye(d))
    x = torch.zeros(1, d, dtype=torch.float64)
    x[:, : d // 2] = 2**0.5
    u = torch.zeros_like(x)
    u[:, : d // 2] = 1.0
    found = float(jvp(model, (x,), (u,))[1].detach().norm() / u.norm())
    assert found > 1.00000
    assert found > 1.1 / 1.1289
    assert found <= mm.certify(model, (x,), 1.0).lipschitz


# softmax's scale


@pytest.mark.parametrize("scale", [0.01, 0.25, 1.0, 4.0])
def test_the_scale_of_softmax_does_not_scale_the_values(scale):
    """o (v + 2 v a^2 q k) s is below the truth for s < 1, where attention is a mean: its slope for values is 1."""
    model = Do(lambda x: F.scaled_dot_product_attention(x, x, x, scale=scale / 6))
    x = draw(1, 4, 6)
    found, proved = attack(model, x, 1.0, steps=6, count=4)
    assert proved.lipschitz_rms == pytest.approx(1 + 2 * scale, rel=1e-9)
    if scale < 0.3:
        assert found.rms > 3 * scale  # the claim


# negative factors


def test_a_branch_with_a_negative_factor_adds_to_the_sensitivity():
    d = 4
    layer = mm.nn.Linear(d, d).double()
    with torch.no_grad():
        layer.weight.copy_(-torch.eye(d))
    network = mm.nn.Identity() + (-0.5) * layer  # claimed: 0.5
    x = draw(2, d)
    plan = mm.modularize(network, (x,))
    assert network.sensitivity == 1.5 == plan.sensitivity
    assert mm.certify(network, (x,)).lipschitz == pytest.approx(1.5)
    assert stretch(network, (2, d), count=2).l2 == pytest.approx(1.5)
    assert mm.certify(Do(lambda x: x - 0.5 * x), (x,)).lipschitz == pytest.approx(1.5)


# the epsilon of normalisations


@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("norm", ["layer", "rms", "group"])
def test_normalisations_are_as_steep_as_their_epsilon_lets_them(norm, eps):
    d = 6
    modules = {
        "layer": lambda: nn.LayerNorm(d, eps=eps),
        "rms": lambda: nn.RMSNorm(d, eps=eps),
        "group": lambda: nn.GroupNorm(1, d, eps=eps),
    }
    module = modules[norm]().double()
    near_zero = 1e-6 * draw(1, d)
    u = draw(1, d)
    u = u - u.mean()
    found = float(jvp(module, (near_zero,), (u,))[1].detach().norm() / u.norm())
    proved = mm.certify(module, (near_zero,))
    assert found > 1  # the claim
    assert found > 0.99 * eps**-0.5
    assert found <= proved.lipschitz <= 1.0001 * eps**-0.5
    assert proved.reasons or eps > 1e-3


def test_a_floor_makes_a_normalisation_gentle():
    module = Do(lambda x: x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(1.0))
    found, proved = attack(module, draw(2, 6), None)
    assert found.l2 > 0.99
    assert proved.lipschitz == pytest.approx(1)


# tightness: where a bound is an equality, the attack comes close to it


def _fixed(module: nn.Module) -> nn.Module:
    module = module.double()
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.copy_(draw(*p.shape, seed=i))
    return module


TIGHT: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float | None, float, float]] = {
    "linear": (lambda: nn.Linear(6, 5), (1, 6), None, 0.999, 0.999),
    "linear of tokens": (lambda: nn.Linear(6, 5), (1, 4, 6), None, 0.999, 0.999),
    "relu": (lambda: nn.Sequential(nn.Linear(6, 3), nn.ReLU()), (1, 6), None, 0.97, 0.97),
    "conv 1 x 1": (lambda: nn.Conv2d(4, 3, 1), (1, 4, 4, 4), None, 0.999, 0.999),
    "gelu": (nn.GELU, (1, 6), 1.5, 0.999, 0.999),
    "gelu tanh": (lambda: nn.GELU("tanh"), (1, 6), 1.5, 0.999, 0.999),
    "mean": (lambda: Do(lambda x: x.mean(1)), (1, 4, 6), None, 0.999, 0.999),
    "sum": (lambda: Do(lambda x: x.sum(-1)), (1, 6), None, 0.999, 0.0),
    "floored norm": (lambda: mm.nn.RMSNorm(0.5), (1, 4, 6), None, 0.999, 0.999),
    "average pool": (lambda: nn.AvgPool2d(2), (1, 2, 4, 4), None, 0.999, 0.999),
    "largest pool": (lambda: nn.MaxPool2d(2), (1, 2, 4, 4), None, 0.999, 0.999),
    "square": (lambda: Do(torch.square), (1, 1), 2.0, 0.999, 0.999),
    "layer norm": (lambda: nn.LayerNorm(6, eps=0.1, elementwise_affine=False), (1, 6), None, 0.999, 0.999),
}


@pytest.mark.parametrize("name", TIGHT)
def test_bounds_of_single_operations_are_reached(name):
    make, shape, domain, l2, rms = TIGHT[name]
    found, proved = attack(_fixed(make()), draw(*shape), domain, steps=30, count=6)
    assert found.l2 >= l2 * proved.lipschitz, found.l2 / proved.lipschitz
    assert found.rms >= rms * proved.lipschitz_rms, found.rms / proved.lipschitz_rms


def test_a_small_domain_does_not_make_a_softmax_light():
    """Its weights add up to 1 wherever the logits are, and its bound may not shrink with them."""
    logits = Do(lambda x: (x @ x.mT).softmax(-1) @ x.square())
    attack(logits, inside(draw(2, 4, 6), shown((2, 4, 6), output=False), 0.1), 0.1)
