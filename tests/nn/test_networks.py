"""The published networks have the published budgets, at every depth."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds import nn


@pytest.mark.parametrize("depth", range(1, 49))
def test_budgets_of_the_published_gpt_at_any_depth(depth):
    gpt = nn.GPT(2, 2, 1, depth, mlp_ratio=1, device="meta")
    block = {
        "attention.branch.qkv.query": 5 / 7,
        "attention.branch.qkv.key": 5 / 7,
        "attention.branch.qkv.value": 5 / 7,
        "attention.branch.output": 5 / 21,
        "mlp.branch.0": 5 / 21,
        "mlp.branch.2": 5 / 21,
    }
    expected = {"embedding.weight": 1 / 7, "unembedding.weight": 1 / 7}
    expected |= {f"blocks.{i}.{name}.weight": budget for i in range(depth) for name, budget in block.items()}
    assert gpt.budgets() == pytest.approx(expected, rel=1e-12, abs=0)
    assert gpt.mass == pytest.approx(7, rel=1e-14)
    assert gpt.sensitivity == pytest.approx(1, rel=1e-12)
    assert len(gpt.param_groups()) == 4  # what has one budget and one radius is stepped at once, whatever the depth


def test_learned_positions_share_the_embedding():
    gpt = nn.GPT(5, 4, 2, 3, context=7)
    budgets = gpt.budgets()
    assert budgets["embedding.tables.token.weight"] == pytest.approx(1 / 7)
    assert budgets["embedding.tables.position.table.weight"] == pytest.approx(1 / 7)
    assert budgets["blocks.2.mlp.branch.0.weight"] == pytest.approx(5 / 21)
    assert gpt.mass == pytest.approx(7)
    tokens = torch.randint(5, (2, 7))
    assert not torch.allclose(gpt(tokens.flip(-1))[:, 0], gpt(tokens)[:, -1], atol=1e-4)
    with pytest.raises(IndexError):
        gpt(torch.randint(5, (2, 8)))


def test_a_sharper_softmax_takes_from_the_budgets_before_it():
    """At softmax_scale 4 an attention has sensitivity 3, and its query and key 3/16, as in modula."""
    attention = nn.Attention(4, 2, softmax_scale=4.0)
    assert attention.sensitivity == pytest.approx(3)
    assert list(attention.budgets().values()) == pytest.approx([3 / 16, 3 / 16, 3 / 4, 1 / 4])


def test_final_scale_is_the_logits():
    torch.manual_seed(0)
    plain = nn.GPT(5, 4, 2, 2)
    scaled = nn.GPT(5, 4, 2, 2, final_scale=3.0)
    scaled.load_state_dict(plain.state_dict())
    tokens = torch.randint(5, (2, 6))
    assert torch.allclose(scaled(tokens), 3 * plain(tokens))
    assert scaled.sensitivity == pytest.approx(3)
    assert scaled.budgets()["unembedding.weight"] == pytest.approx(1 / 21)


def test_mlp():
    mlp = nn.MLP(3, 8, 2, 4)
    assert list(mlp.budgets().values()) == [0.25] * 4
    assert [tuple(p.shape) for p in mlp.parameters()] == [(8, 3), (8, 8), (8, 8), (2, 8)]
    assert mlp(torch.randn(5, 3)).shape == (5, 2)
    assert len(list(nn.MLP(3, 8, 2, 1).children())) == 1


def test_attention_is_its_formula():
    """1/3 of softmax(q k^T / d_head) v in each head, projected."""
    attention = nn.Attention(6, 2, softmax_scale=2.0)
    x = torch.randn(4, 6)
    q, k, v = (attention.get_submodule(f"qkv.{name}")(x).view(4, 2, 3) for name in ("query", "key", "value"))
    logits = torch.einsum("thd,shd->hts", q, k) * 2 / 3
    weights = logits.masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf).softmax(-1)
    expected = attention.get_submodule("output")(torch.einsum("hts,shd->thd", weights, v).reshape(4, 6) / 3)
    assert torch.allclose(attention(x), expected, atol=1e-6)
    assert torch.allclose(attention(x.expand(2, 3, 4, 6)), expected.expand(2, 3, 4, 6), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rotary_positions_turn_by_their_difference(dtype):
    rope = nn.Rope()
    q, k = torch.randn(2, 8, dtype=dtype)
    products = rope(q.expand(500, 8)) @ rope(k.expand(500, 8)).mT
    assert products.dtype == dtype
    for lag in (0, 3):
        along = products.diagonal(lag).double()
        assert torch.allclose(along, along[:1], atol=1e-10 if dtype == torch.float64 else 0.15)
    assert torch.allclose(rope(q[None])[0], q)


def test_residual_is_the_algebra_under_shorter_names():
    branch = 2.0 * nn.Linear(4, 4)
    short, long = nn.Residual(branch, 0.25), (1 - 0.25) * nn.Identity() + 0.25 * branch
    x = torch.randn(3, 4)
    assert torch.allclose(short(x), long(x))
    assert list(short.budgets().values()) == list(long.budgets().values()) == [2.0]
    assert short.sensitivity == long.sensitivity == 1.25
    assert short.sharpness == long.sharpness
    assert nn.Residual(branch, -1.0).sensitivity == 4
    assert nn.Residual(branch, 1.5).sensitivity == 3.5


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_a_tower_keeps_its_sensitivity_at_any_depth(depth):
    tower = nn.tower(nn.Linear(4, 4) @ nn.ReLU() @ nn.Linear(4, 4), depth).tare(3.0)
    assert tower.sensitivity == pytest.approx(1)
    assert list(tower.budgets().values()) == pytest.approx([0.5] * (2 * depth))


def test_one_learning_rate_trains_every_network():
    torch.manual_seed(0)
    gpt = nn.GPT(6, 8, 2, 2)
    optimizer = mm.ModularOptimizer(gpt.param_groups(), lr=0.1)
    tokens = torch.randint(6, (8, 9))
    losses = []
    for _ in range(30):
        logits = 10 * gpt(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    for group in gpt.param_groups():
        assert all(group["geometry"].manifold.violation(p.detach()).max() < 1e-4 for _, p in group["params"])
