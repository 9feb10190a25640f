"""Networks built from modules whose masses and sensitivities compose: leaves, bonds and what is made of them."""

from modular_manifolds.nn.attention import Attention, AttentionCore
from modular_manifolds.nn.bonds import (
    GELU,
    AvgPool2d,
    Flatten,
    Mean,
    Positions,
    ReLU,
    RMSNorm,
    Rope,
    Tanh,
)
from modular_manifolds.nn.composition import Add, Compose, Identity, Mul, Tuple
from modular_manifolds.nn.leaves import Bias, Conv1d, Conv2d, Embedding, Linear
from modular_manifolds.nn.module import Bond, Leaf, Module
from modular_manifolds.nn.networks import GPT, MLP, Residual, tower
from modular_manifolds.nn.sharpness import Sharpness

__all__ = [
    "GELU",
    "GPT",
    "MLP",
    "Add",
    "Attention",
    "AttentionCore",
    "AvgPool2d",
    "Bias",
    "Bond",
    "Compose",
    "Conv1d",
    "Conv2d",
    "Embedding",
    "Flatten",
    "Identity",
    "Leaf",
    "Linear",
    "Mean",
    "Module",
    "Mul",
    "Positions",
    "RMSNorm",
    "ReLU",
    "Residual",
    "Rope",
    "Sharpness",
    "Tanh",
    "Tuple",
    "tower",
]
