import itertools

import pytest
import torch

from modular_manifolds.experiments.sweep.gpt import GPT, Attention, GPTShape, Positions, unit
from modular_manifolds.experiments.sweep.text_methods import TEXT_METHODS

SHAPE = GPTShape(layers=2, heads=2, width=16)
OPTIONS = {
    "norm": ("layernorm", "rmsnorm", "none"),
    "positions": tuple(Positions),
    "qk_norm": (False, True),
    "gains": (False, True),
    "stream": ("sum", "average", "sphere"),
}


def make(**options):
    torch.manual_seed(0)
    return GPT(11, SHAPE, **options)


@pytest.mark.parametrize("values", list(itertools.product(*OPTIONS.values())))
def test_no_position_sees_what_comes_after_it(values):
    model = make(**dict(zip(OPTIONS, values, strict=True)))
    tokens = torch.randint(11, (3, 8))
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 11
    before, after = model(tokens), model(changed)
    assert before.shape == (3, 8, 11)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("positions", Positions)
def test_the_order_of_characters_matters(positions):
    tokens = torch.tensor([[1, 2, 3, 4]])
    model = make(positions=positions)
    for p in model.parameters():
        p.data.mul_(10)  # at the start attention is nearly even, whatever it is given
    assert not torch.allclose(model(tokens)[0, -1], model(tokens[:, [1, 0, 2, 3]])[0, -1], atol=1e-4)


def test_rotary_attention_knows_distances_only():
    torch.manual_seed(0)
    attention = Attention(16, 2, rotary=True, qk_norm=False, gains=False)
    seen = []
    attention.core.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] @ inputs[1].mT))
    attention(torch.randn(1, 1, 16).expand(1, 6, 16))
    logits = seen[0][0, 0]
    torch.testing.assert_close(logits.diagonal(-2), logits[2, 0].expand(4))
    assert not torch.allclose(logits[2, 0], logits[3, 0])


def test_a_normalised_stream_has_size_one():
    seen = []
    model = make(stream="sphere")
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(torch.randint(11, (2, 5)))
    for x in seen:
        torch.testing.assert_close(x.square().mean(-1).sqrt(), torch.ones(2, 5), rtol=0, atol=1e-3)
    torch.testing.assert_close(unit(torch.full((4,), 3.0)), torch.ones(4))


def test_positions_are_the_shapes_unless_the_network_has_its_own():
    rotary = GPTShape(layers=2, heads=2, width=16, positions=Positions.ROTARY)
    assert GPT(11, rotary).positions is None
    assert GPT(11, rotary, positions=Positions.LEARNED).positions is not None
    assert TEXT_METHODS["muon"].network(11, rotary).positions is None
    for method in TEXT_METHODS.values():
        own = method.positions or Positions.LEARNED
        assert (method.network(11, SHAPE).positions is None) == (own is Positions.ROTARY)


def test_the_default_is_nanogpts_small_one():
    model = GPT(65, GPTShape())
    assert sum(p.numel() for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2) == (
        4 * 12 * 128**2
    )
    assert model.positions is not None
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
