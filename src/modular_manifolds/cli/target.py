"""The model that a command is about: made by a function of the user's, or trained by `compare`."""

import importlib
import inspect
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.robustness_runs import best_runs


class TargetError(ValueError):
    """No model could be had from what was named; the message says why, and what would do."""


@dataclass(frozen=True, eq=False)
class Target:
    """A model with inputs of the shape it takes."""

    name: str
    model: nn.Module
    example_inputs: tuple[Any, ...]


def load_targets(named: str, shape: str | None, tokens: bool, weights: Path | None) -> list[Target]:
    """Every model that `named` stands for.

    Args:
        named: "package.module:factory", a folder that `compare` wrote (each method's best run), or one of its
            weights.safetensors.
        shape: of one input, e.g. "1x784"; None where the factory returns (model, example_inputs), or for `compare`.
        tokens: whether inputs are whole numbers.
        weights: a .safetensors or .pt file of the state dict to load into the factory's model.

    Raises:
        TargetError: nothing of the kind is there.
    """
    path = Path(named)
    if path.is_dir():
        return [_mlp(f"{t.run.method}, lr {t.run.lr:g}, seed {t.run.seed}", t.weights) for t in best_runs([path])]
    if path.suffix == ".safetensors":
        return [_mlp(str(path), _state(path))]
    if ":" not in named:
        raise TargetError(
            f"{named} is neither a folder that compare wrote nor a .safetensors file; to name a model of your own "
            "write package.module:factory"
        )
    return [_made(named, shape, tokens, weights)]


def _made(named: str, shape: str | None, tokens: bool, weights: Path | None) -> Target:
    module_name, _, attribute = named.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise TargetError(f"{named} cannot be imported: {error}") from error
    finally:
        sys.path.pop(0)
    made = factory() if not isinstance(factory, nn.Module) and callable(factory) else factory
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if inspect.isclass(made) or not isinstance(model, nn.Module):
        raise TargetError(f"{named} makes no torch.nn.Module, nor (model, example_inputs), but {type(made).__name__}")
    if shape is not None:
        sizes = _sizes(shape)
        inputs = (torch.zeros(sizes, dtype=torch.long) if tokens else torch.zeros(sizes),)
    if inputs is None:
        raise TargetError(f"{named} makes a model alone; give the shape of its input, e.g. --shape 1x784")
    if weights is not None:
        model.load_state_dict(_state(weights))
    return Target(named, model, inputs if isinstance(inputs, tuple) else (inputs,))


def _sizes(shape: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in shape.split("x"))
    except ValueError:
        sizes = ()
    if not sizes or not all(size > 0 for size in sizes):
        raise TargetError(f"{shape!r} is no shape; write sizes with x between, e.g. 1x3x32x32")
    return sizes


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # whatever the reader raises means the same to the user
        raise TargetError(f"{path} cannot be read: {error}") from error


def _mlp(name: str, weights: dict[str, Tensor]) -> Target:
    """The network of `compare` with these weights."""
    shapes = [weight.shape for weight in weights.values()]
    fit = all(len(shape) == 2 for shape in shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not shapes or not fit or not all(key.startswith("layers.") for key in weights):
        raise TargetError(f"{name} holds no network of compare; name the function that makes yours, and --weights FILE")
    model = MLP(shapes[0][1], [shape[0] for shape in shapes[:-1]], shapes[-1][0], seed=0)
    model.load_state_dict(weights)
    return Target(name, model, (torch.zeros(1, shapes[0][1]),))
