import pytest
import torch
from torch import nn

import modular_manifolds as mm
from modular_manifolds.experiments.sweep.formats import Stored, WeightFormat, rounded

FP8 = torch.float8_e4m3fn


@pytest.fixture
def weight():
    return torch.randn(9, 7, generator=torch.Generator().manual_seed(0))


def numbers_of_fp8():
    every = torch.arange(256, dtype=torch.uint8).view(FP8).float()
    return every[every.isfinite()]


def test_bfloat16_has_the_nearest_of_its_numbers(weight):
    found = rounded(weight, WeightFormat.BFLOAT16)
    assert torch.equal(found.to(torch.bfloat16).float(), found)
    assert float(((found - weight) / weight).abs().max()) <= 2**-8
    assert not torch.equal(found, weight)


def test_fp8_has_the_nearest_of_its_numbers_times_one_scale(weight):
    found = rounded(weight, WeightFormat.FP8)
    numbers = numbers_of_fp8() * (weight.abs().max() / 448)
    nearest = numbers[(weight[..., None] - numbers).abs().argmin(-1)]
    torch.testing.assert_close(found, nearest, rtol=1e-6, atol=0)
    assert float(found.abs().max()) == pytest.approx(float(weight.abs().max()), rel=1e-6)


@pytest.mark.parametrize("format", WeightFormat)
def test_rounding_commutes_with_powers_of_two(weight, format):
    for power in (-40, -3, 5, 60):
        assert torch.equal(rounded(weight * 2.0**power, format), rounded(weight, format) * 2.0**power)


@pytest.mark.parametrize("format", WeightFormat)
def test_rounding_twice_is_rounding_once_and_zero_stays(weight, format):
    once = rounded(weight, format)
    torch.testing.assert_close(rounded(once, format), once, rtol=1e-6, atol=0)
    assert torch.equal(rounded(torch.zeros(3, 2), format), torch.zeros(3, 2))


@pytest.mark.parametrize("format", [WeightFormat.BFLOAT16, WeightFormat.FP8])
def test_masters_are_kept_and_gradients_are_those_at_the_rounded_weights(weight, format):
    layer = nn.Linear(7, 9, bias=False)
    layer.weight.data.copy_(weight)
    network, x = Stored(layer, format), torch.randn(5, 7)
    network(x).square().sum().backward()
    network.stepped()
    assert torch.equal(layer.weight.detach(), weight)
    low = rounded(weight, format).requires_grad_()
    (x @ low.mT).square().sum().backward()
    assert torch.equal(network(x), x @ low.mT)
    torch.testing.assert_close(layer.weight.grad, low.grad)


def test_without_masters_small_steps_are_lost():
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data.fill_(1.0)
    for format, moved in ((WeightFormat.BFLOAT16, True), (WeightFormat.BFLOAT16_PURE, False)):
        network = Stored(layer, format)
        for _ in range(8):
            layer.weight.data.sub_(2.0**-10)
            network.stepped()
        assert bool((layer.weight < 1).all()) is moved
        layer.weight.data.fill_(1.0)


def test_without_masters_manifold_optimizers_carry_on(weight):
    layer = nn.Linear(7, 9, bias=False)
    mm.project_([layer.weight], mm.Stiefel())
    optimizer = mm.ManifoldMuon([layer.weight], lr=0.1)
    network = Stored(layer, WeightFormat.BFLOAT16_PURE)
    for _ in range(5):
        network.zero_grad()
        (network(torch.eye(7)) - weight.mT).square().sum().backward()
        optimizer.step()
        network.stepped()
        stored = layer.weight.detach()
        assert torch.equal(stored, stored.to(torch.bfloat16).float())
        assert 1e-4 < float(mm.Stiefel().violation(stored)) < 2**-6


def test_gains_are_left_alone():
    norm = nn.LayerNorm(5, bias=False)
    norm.weight.data.uniform_()
    before = norm.weight.detach().clone()
    for format in WeightFormat:
        assert torch.equal(Stored(norm, format).weights["weight"], before)
    assert torch.equal(norm.weight.detach(), before)
