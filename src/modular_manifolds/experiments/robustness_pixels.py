"""A network as a function of pixels, so that distances mean the same whatever it was standardised with."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.experiments.cifar10 import SIZE, STD
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.run import Run

_DIGITS_RANGE = 16


def pixel_units(data: DataName) -> Float[Tensor, " features"]:
    """What a network's inputs are multiplied with to be pixels from 0 to 1, up to a shift: one factor a feature."""
    if data is DataName.DIGITS:
        return torch.full((64,), 1 / _DIGITS_RANGE, dtype=torch.float64)
    return torch.tensor(STD, dtype=torch.float64).repeat_interleave(SIZE[0] * SIZE[1])


def pixel_network(weights: Mapping[str, Tensor], run: Run, units: Float[Tensor, " features"], classes: int) -> MLP:
    """The trained network, in float64, as a function of pixels from 0 to 1 less the mean pixel.

    Its inputs are those of the trained network times `units`: the scaling goes into the first weight, W diag(1/units),
    and so into its singular values. The shift by the mean stays with the inputs, where it changes no distance.
    """
    network = MLP(len(units), run.widths, classes, seed=0).double()
    network.load_state_dict(dict(weights))
    first = next(network.parameters())
    with torch.no_grad():
        first.div_(units)
    return network.requires_grad_(False).eval()
