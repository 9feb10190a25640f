"""Looking into a transformer: its stream, its attention, its singular values, and what it writes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer

from modular_manifolds.experiments.results import singular_values
from modular_manifolds.experiments.sweep.formats import Stored
from modular_manifolds.experiments.sweep.gpt import AttentionCore, Block
from modular_manifolds.experiments.sweep.text_methods import block_matrices
from modular_manifolds.experiments.sweep.trial import brief
from modular_manifolds.experiments.text import CONTEXT, Text
from modular_manifolds.projection import as_matrix

SAMPLE = 300
"""Characters."""

TEMPERATURE = 0.8

_SAMPLE_SEED = 0


@torch.no_grad()
def activation_rms(network: nn.Module, tokens: Int[Tensor, "batch positions"]) -> tuple[float, ...]:
    """Root mean square of the stream after each block, first block first."""
    found: list[float] = []

    def see(block: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(brief(float(output.square().mean().sqrt())))

    _run_watched(network, tokens, Block, lambda module: module.register_forward_hook(see))
    return tuple(found)


@torch.no_grad()
def attention_logits(network: nn.Module, tokens: Int[Tensor, "batch positions"]) -> tuple[float, ...]:
    """The largest logit in absolute value that the softmax of each layer is given, among those it does not mask."""
    found: list[float] = []

    def see(core: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        q, k, _ = inputs
        logits = (q @ k.mT / math.sqrt(q.shape[-1])).tril()
        found.append(brief(float(logits.abs().max())))

    _run_watched(network, tokens, AttentionCore, lambda module: module.register_forward_pre_hook(see))
    return tuple(found)


@torch.no_grad()
def spectra(network: Stored) -> dict[str, tuple[float, float, float]]:
    """Smallest, median and largest singular value of the blocks' matrices, as the network computes with them."""
    weights = network.weights
    found = {}
    for name, _ in block_matrices(network.model):
        sigma = singular_values(weights[name])
        found[name] = (brief(float(sigma[0])), brief(float(sigma.median())), brief(float(sigma[-1])))
    return found


@torch.no_grad()
def violation(network: Stored, optimizers: Sequence[Optimizer]) -> float | None:
    """The largest of the weights that the network computes with, from their manifolds; None if none has one."""
    weights = network.weights
    names = {p: name for name, p in network.model.named_parameters()}
    found = [
        group["geometry"].manifold.violation(as_matrix(weights[names[p]])).double().max()
        for optimizer in optimizers
        for group in optimizer.param_groups
        if group.get("geometry") is not None
        for p in group["params"]
    ]
    return float(torch.stack(found).max()) if found else None


@torch.no_grad()
def sample(network: nn.Module, text: Text) -> str:
    """Characters drawn one after the other, from those before them; the first follows the held-out text's first."""
    generator = torch.Generator().manual_seed(_SAMPLE_SEED)
    tokens = text.validation[:1].tolist()
    for _ in range(SAMPLE):
        logits = network(torch.tensor([tokens[-CONTEXT:]]))[0, -1] / TEMPERATURE
        if not logits.isfinite().all():
            break
        tokens.append(int(torch.multinomial(logits.softmax(-1), 1, generator=generator)))
    return "".join(text.alphabet[token] for token in tokens[1:])


def _run_watched(network: nn.Module, tokens: Tensor, kind: type[nn.Module], watch: Callable[[nn.Module], Any]) -> None:
    handles = [watch(module) for module in network.modules() if isinstance(module, kind)]
    try:
        network(tokens)
    finally:
        for handle in handles:
            handle.remove()
