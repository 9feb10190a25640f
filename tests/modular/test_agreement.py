"""The algebra of `mm.nn` and the sweeps over the traced graph give the same numbers, to the last bit."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds.nn import (
    GELU,
    GPT,
    MLP,
    Attention,
    AvgPool2d,
    Conv1d,
    Conv2d,
    Embedding,
    Flatten,
    Identity,
    Linear,
    Mean,
    ReLU,
    RMSNorm,
    tower,
)

TOKENS = torch.zeros(3, 5, dtype=torch.long)


def shared():
    leaf = Linear(6, 6)
    return leaf @ ReLU() @ leaf + 0.3 * leaf


def sums():
    a, b, c = (Linear(6, 6) for _ in range(3))
    return (a + 0.3 * b) @ (Identity() - 0.7 * c)


NETWORKS = {
    **{f"gpt {depth}": (lambda depth=depth: (GPT(7, 8, 2, depth), TOKENS)) for depth in (1, 2, 3, 5, 7, 12)},
    "gpt with positions": lambda: (GPT(7, 8, 2, 3, context=6), TOKENS),
    "gpt with scales": lambda: (GPT(7, 8, 2, 3, softmax_scale=3.0, final_scale=0.7), TOKENS),
    "mlp": lambda: (MLP(5, 8, 3, 4), torch.zeros(4, 5)),
    "attention": lambda: (Attention(8, 2), torch.zeros(3, 5, 8)),
    "shared leaf": lambda: (shared(), torch.zeros(4, 6)),
    "tower": lambda: (tower(Linear(8, 8) @ GELU() @ Linear(8, 8), 7).tare(3.0), torch.zeros(3, 8)),
    "norm": lambda: (tower(Linear(8, 8) @ RMSNorm(0.3), 3), torch.zeros(3, 8)),
    "conv2d": lambda: (
        Linear(24, 3) @ Flatten() @ AvgPool2d(2) @ ReLU() @ Conv2d(3, 6, 3, padding=1),
        torch.zeros(2, 3, 4, 4),
    ),
    "conv1d": lambda: (Conv1d(3, 6, 3, padding=1), torch.zeros(2, 3, 7)),
    "embedding": lambda: (Linear(6, 3) @ Mean() @ Embedding(7, 6), TOKENS),
    "sums": lambda: (sums(), torch.zeros(4, 6)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_budgets_agree_to_the_last_bit(name):
    network, x = NETWORKS[name]()
    plan = mm.modularize(network, (x,))
    assert {name: entry.budget for name, entry in plan.items()} == network.budgets()
    leaves = {leaf.weight: leaf for leaf in network.leaves()}
    for name, p in network.named_parameters():
        assert plan[name].geometry == leaves[p].geometry
        assert plan[name].mass == leaves[p].mass
    assert plan.mass == network.mass


@pytest.mark.parametrize("name", ["gpt 3", "mlp", "tower", "sums"])
def test_the_modular_norm_agrees(name):
    network, x = NETWORKS[name]()
    plan = mm.modularize(network, (x,))
    generator = torch.Generator().manual_seed(0)
    update = {name: torch.randn(p.shape, generator=generator) for name, p in network.named_parameters()}
    assert float(plan.norm(update)) == pytest.approx(float(network.modular_norm(update)), rel=1e-6)


def test_a_plan_steps_as_the_network_itself_does():
    torch.manual_seed(0)
    network = MLP(5, 8, 3, 3)
    x = torch.randn(6, 5)
    ends = []
    for source in (network, mm.modularize(network, (x,))):
        start = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer = mm.ModularOptimizer(source, lr=0.1)
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
        ends.append({name: p.detach().clone() for name, p in network.named_parameters()})
        network.load_state_dict(start)
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-6) for name in ends[0])
