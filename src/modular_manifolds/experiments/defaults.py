"""Settings of a comparison that suit each data set."""

from collections.abc import Mapping
from dataclasses import dataclass

from modular_manifolds.experiments.data import DataName


@dataclass(frozen=True)
class Defaults:
    """What `compare` uses unless told otherwise."""

    widths: tuple[int, ...]
    batch_size: int
    epochs: int


DEFAULTS: Mapping[DataName, Defaults] = {
    DataName.DIGITS: Defaults(widths=(64, 32), batch_size=128, epochs=5),
    DataName.CIFAR10: Defaults(widths=(128, 64), batch_size=1024, epochs=5),
}
