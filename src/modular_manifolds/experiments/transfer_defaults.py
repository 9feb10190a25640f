"""Settings of a transfer study that suit each task."""

from collections.abc import Mapping
from dataclasses import dataclass

from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.transfer_trial import Course


@dataclass(frozen=True)
class TransferDefaults:
    """What `transfer` uses unless told otherwise."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    course: Course


TRANSFER_DEFAULTS: Mapping[TaskName, TransferDefaults] = {
    TaskName.DIGITS: TransferDefaults(
        (32, 64, 128, 256, 512, 1024), (2, 4, 8, 16), Course(width=64, depth=3, steps=100, batch_size=128)
    ),
    TaskName.CIFAR10: TransferDefaults(
        (32, 64, 128, 256, 512, 1024), (2, 4, 8, 16), Course(width=64, depth=3, steps=100, batch_size=256)
    ),
    TaskName.TEXT: TransferDefaults(
        (32, 64, 128, 256), (2, 4, 8, 16), Course(width=64, depth=2, steps=400, batch_size=8)
    ),
}
