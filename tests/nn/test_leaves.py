"""Leaves start on their manifolds, with the geometry of their kind."""

import math

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds import nn
from modular_manifolds.projection import as_matrix

LEAVES = {
    "tall": lambda **k: nn.Linear(3, 8, **k),
    "wide": lambda **k: nn.Linear(8, 3, **k),
    "heads": lambda **k: nn.Linear(6, 8, heads=4, **k),
    "embedding": lambda **k: nn.Embedding(9, 5, **k),
    "conv1d": lambda **k: nn.Conv1d(3, 6, 5, **k),
    "conv2d": lambda **k: nn.Conv2d(6, 3, (3, 2), **k),
    "bias": lambda **k: nn.Bias(5, **k),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LEAVES)
def test_they_start_on_their_manifold(name, dtype):
    leaf = LEAVES[name](dtype=dtype)
    matrix = as_matrix(leaf.weight.detach(), leaf.geometry.kernel_axes)
    assert leaf.weight.dtype == dtype
    assert leaf.geometry.manifold.violation(matrix).max() < 8 * torch.finfo(dtype).eps
    assert leaf.budgets() == {"weight": 1.0}
    mm.ModularOptimizer(leaf.param_groups())


@pytest.mark.parametrize("name", [name for name in LEAVES if name != "bias"])
def test_they_start_at_random_and_can_do_so_again(name):
    torch.manual_seed(0)
    leaf = LEAVES[name]()
    first = leaf.weight.detach().clone()
    leaf.reset_parameters()
    assert not torch.equal(leaf.weight, first)
    torch.manual_seed(0)
    assert torch.equal(LEAVES[name]().weight, first)


def test_a_linear_keeps_the_rms():
    leaf = nn.Linear(5, 20)
    assert leaf.geometry == mm.Geometry(mm.Stiefel(2.0), mm.RMSOperator())
    x = torch.randn(7, 5)
    assert torch.allclose(leaf(x).square().mean(-1), x.square().mean(-1), rtol=1e-5)


def test_each_head_is_a_linear_by_itself():
    leaf = nn.Linear(8, 8, heads=2)
    for head in leaf.weight.detach().chunk(2):
        assert torch.allclose(torch.linalg.svdvals(head), torch.full((4,), math.sqrt(4 / 8)))
    assert leaf.geometry.norm(torch.cat([leaf.weight[:4], 3 * leaf.weight[4:]])).item() == pytest.approx(3)
    assert nn.Linear(8, 8, heads=1).geometry == nn.Linear(8, 8).geometry


def test_taps_of_a_convolution_share_its_gain():
    leaf = nn.Conv2d(4, 16, 3)
    assert leaf.geometry == mm.Geometry(mm.Stiefel(2 / 9), mm.ConvOperator(9), kernel_axes=2)
    assert torch.allclose(torch.linalg.svdvals(leaf.weight.detach()[:, :, 1, 2]), torch.full((4,), 2 / 9))


def test_embedded_tokens_have_rms_1():
    leaf = nn.Embedding(9, 5)
    assert torch.allclose(leaf(torch.arange(9)).square().mean(-1), torch.ones(9))


def test_a_bias_is_zero_at_first_and_added():
    leaf = nn.Bias(3)
    x = torch.randn(2, 3)
    assert torch.equal(leaf(x), x)
    with torch.no_grad():
        leaf.weight += 1
    assert torch.equal(leaf(x), x + 1)
    leaf.reset_parameters()
    assert torch.equal(leaf(x), x)


def test_convolutions_step_on_their_taps():
    module = nn.Flatten() @ nn.Conv2d(3, 4, 3)
    optimizer = mm.ModularOptimizer(module.param_groups(), lr=0.1)
    module(torch.randn(2, 3, 5, 5)).square().sum().backward()
    before = module.get_parameter("0.weight").detach().clone()
    optimizer.step()
    after = module.get_parameter("0.weight").detach()
    assert not torch.equal(before, after)
    assert module.leaves()[0].geometry.manifold.violation(as_matrix(after, 2)).max() < 1e-5
