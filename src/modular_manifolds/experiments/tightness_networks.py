"""The networks whose Lipschitz bound is compared with what can be measured."""

from dataclasses import dataclass

import torch
from torch import nn

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.robustness_runs import Trained
from modular_manifolds.nn import Linear, ReLU, networks, tower

TRAINED, START = "trained", "start"
MODULAR_MLP, TOWER = f"nn.MLP, {START}", f"nn.tower, {START}"


@dataclass(frozen=True)
class Specimen:
    """A network to measure: of one family, `depth` weight matrices deep; `lr` is None where nothing was trained."""

    family: str
    depth: int
    seed: int
    lr: float | None

    @property
    def name(self) -> str:
        """For a line of progress."""
        return f"{self.family}, depth {self.depth}, seed {self.seed}"


def trained_name(method: str) -> str:
    """The family of what a method trained."""
    return f"{method}, {TRAINED}"


def start_name(method: str) -> str:
    """The family of what a method starts from."""
    return f"{method}, {START}"


def families(methods: tuple[str, ...], depth: int) -> tuple[str, ...]:
    """All there are at a depth: a tower has a layer before it, one after it, and one or more in it."""
    names = [name for method in methods for name in (trained_name(method), start_name(method))]
    return (*names, MODULAR_MLP, *([TOWER] if depth > 2 else []))


def build(specimen: Specimen, data: Dataset, width: int, trained: Trained | None = None) -> nn.Module:
    """The network in float64, without gradients; `trained` is the run of one that was trained."""
    depth, widths = specimen.depth, (width,) * (specimen.depth - 1)
    network: nn.Module
    if specimen.family in (MODULAR_MLP, TOWER):
        with torch.random.fork_rng():
            torch.manual_seed(specimen.seed)
            if specimen.family == MODULAR_MLP:
                network = networks.MLP(data.features, width, data.classes, depth)
            else:
                blocks = tower(Linear(width, width) @ ReLU(), depth - 2)
                network = Linear(width, data.classes) @ blocks @ Linear(data.features, width)
    else:
        network = MLP(data.features, widths, data.classes, seed=specimen.seed)
        if trained is None:
            METHODS[specimen.family.removesuffix(f", {START}")].place(network)
        else:
            network.load_state_dict(trained.weights)
    return network.double().requires_grad_(False)
