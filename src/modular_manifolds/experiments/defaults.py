"""Settings of a comparison that suit each data set."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from modular_manifolds.experiments.data import DataName


@dataclass(frozen=True)
class Defaults:
    """What `compare` uses unless told otherwise."""

    widths: tuple[int, ...]
    batch_size: int
    epochs: int
    threads: int


# The matrices for digits are so small that threads would cost more than they bring.
DEFAULTS: Mapping[DataName, Defaults] = {
    DataName.DIGITS: Defaults(widths=(64, 32), batch_size=256, epochs=10, threads=1),
    DataName.CIFAR10: Defaults(widths=(128, 64), batch_size=1024, epochs=5, threads=torch.get_num_threads()),
}
