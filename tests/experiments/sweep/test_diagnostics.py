import math

import pytest
import torch

from modular_manifolds.experiments.sweep.diagnostics import activation_rms, attention_logits, sample, spectra
from modular_manifolds.experiments.sweep.formats import Stored, WeightFormat
from modular_manifolds.experiments.sweep.gpt import GPT, GPTShape


@pytest.fixture
def model(text):
    torch.manual_seed(0)
    return GPT(text.classes, GPTShape(layers=2, heads=2, width=16))


@torch.no_grad()
def test_what_is_seen_of_a_transformer_is_what_it_does(model, text):
    tokens = next(text.held_out())[0][:3]
    x = model.embedding(tokens) + model.positions.weight
    block = model.blocks[0]
    q, k = (f(block.before_attention(x)).unflatten(-1, (2, 8)) for f in (block.attention.query, block.attention.key))
    logits = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(8)
    allowed = torch.ones(64, 64).tril().bool()
    network = Stored(model, WeightFormat.FLOAT32)
    assert attention_logits(network, tokens)[0] == pytest.approx(float(logits[..., allowed].abs().max()), rel=1e-4)
    rms = float(block(x).square().mean().sqrt())
    assert activation_rms(network, tokens)[0] == pytest.approx(rms, rel=1e-4)
    assert not block._forward_hooks


def test_singular_values_are_of_the_weights_that_are_computed_with(model):
    name = "blocks.1.up.weight"
    exact = torch.linalg.svdvals(model.blocks[1].up.weight.detach())
    low, _, high = spectra(Stored(model, WeightFormat.FLOAT32))[name]
    assert (low, high) == (pytest.approx(float(exact[-1]), rel=1e-3), pytest.approx(float(exact[0]), rel=1e-3))
    coarse = spectra(Stored(model, WeightFormat.FP8))[name]
    assert coarse != (low, _, high)


def test_a_sample_is_drawn_from_the_predictions(model, text):
    assert sample(model, text) == sample(model, text)
    favourite = text.alphabet.index("q")
    model.unembedding.weight.data.zero_()
    model.before_unembedding.weight.data.zero_()
    assert len(set(sample(model, text))) > 5  # all characters alike
    model.unembedding = torch.nn.Linear(16, text.classes)
    model.unembedding.bias.data.zero_()[favourite] = 100.0
    assert set(sample(model, text)) == {"q"}
    model.unembedding.bias.data.fill_(math.nan)
    assert sample(model, text) == ""
