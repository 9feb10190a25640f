"""Modules are ordinary nn.Modules."""

import copy
import pickle

import pytest
import torch

from modular_manifolds import nn

NETWORKS = {
    "mlp": (lambda: nn.MLP(5, 8, 3, 3), lambda: torch.randn(4, 5)),
    "gpt": (lambda: nn.GPT(7, 8, 2, 2), lambda: torch.randint(7, (3, 5))),
    "gpt with learned positions": (lambda: nn.GPT(7, 8, 2, 1, context=6), lambda: torch.randint(7, (3, 5))),
    "attention": (lambda: nn.Attention(8, 2, causal=False, rope=True), lambda: torch.randn(3, 5, 8)),
    "conv": (
        lambda: nn.Linear(24, 3) @ nn.Flatten() @ nn.AvgPool2d(2) @ nn.ReLU() @ nn.Conv2d(3, 6, 3, padding=1),
        lambda: torch.randn(2, 3, 4, 4),
    ),
    "bonds": (
        lambda: nn.tower(nn.Linear(4, 4) @ nn.GELU() @ nn.RMSNorm(0.5) @ nn.Bias(4), 2) - nn.Tanh() @ nn.Mul(0.5),
        lambda: torch.randn(3, 4),
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_state_dict_round_trip(name):
    make, data = NETWORKS[name]
    one, other, x = make(), make(), data()
    assert not torch.equal(one(x), other(x))
    assert not other.load_state_dict(one.state_dict()).missing_keys
    assert torch.equal(one(x), other(x))
    assert set(one.budgets()) == set(one.state_dict())


@every_network
def test_copies_keep_masses_and_share_nothing(name):
    make, data = NETWORKS[name]
    one, x = make().tare(3.0), data()
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(one(x), other(x))
        assert one.budgets() == other.budgets()
        assert not {p.data_ptr() for p in one.parameters()} & {p.data_ptr() for p in other.parameters()}


@every_network
def test_dtypes(name):
    make, data = NETWORKS[name]
    x = data()
    module = make().double()
    assert module(x.double() if x.is_floating_point() else x).dtype == torch.float64
    assert make().bfloat16()(x.bfloat16() if x.is_floating_point() else x).isfinite().all()


@every_network
def test_export(name):
    make, data = NETWORKS[name]
    module, x = make(), data()
    program = torch.export.export(module, (x,))
    assert torch.allclose(program.module()(x), module(x), atol=1e-6)
    operations = {str(node.target) for node in program.graph.nodes}
    assert operations & {"aten.linear.default", "aten.conv2d.default"}


@every_network
def test_gradients_reach_every_weight(name):
    make, data = NETWORKS[name]
    module = make()
    module(data()).square().sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in module.parameters())


@every_network
def test_project_brings_weights_back(name):
    module = NETWORKS[name][0]()
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(3)
    assert module.project_() is module
    for key, p in module.state_dict().items():
        assert torch.allclose(p, before[key], atol=1e-5)


def test_on_the_meta_device_nothing_is_drawn_until_it_is_asked_for():
    module = nn.MLP(5, 8, 3, 2, device="meta").to_empty(device="cpu")
    module.reset_parameters()
    assert torch.allclose(module(torch.ones(2, 5)).isfinite().float(), torch.ones(2, 3))
    for leaf in module.leaves():
        assert leaf.geometry.manifold.violation(leaf.weight.detach()) < 1e-5


def test_compiled():
    module = nn.MLP(5, 8, 3, 2)
    x = torch.randn(4, 5)
    assert torch.allclose(torch.compile(module, backend="eager")(x), module(x), atol=1e-6)


def test_zero_has_a_gradient():
    x = torch.zeros(2, 4, requires_grad=True)
    nn.RMSNorm(0.5)(x).sum().backward()
    assert torch.equal(x.grad, torch.full((2, 4), 2.0))


def test_names_say_what_a_part_is():
    assert list(nn.GPT(7, 8, 2, 1).state_dict()) == [
        "embedding.weight",
        "blocks.0.attention.branch.qkv.query.weight",
        "blocks.0.attention.branch.qkv.key.weight",
        "blocks.0.attention.branch.qkv.value.weight",
        "blocks.0.attention.branch.output.weight",
        "blocks.0.mlp.branch.0.weight",
        "blocks.0.mlp.branch.2.weight",
        "unembedding.weight",
    ]
    assert "mass=0.5" in repr(nn.Linear(2, 3, mass=0.5))
