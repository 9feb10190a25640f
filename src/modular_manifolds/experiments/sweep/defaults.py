"""What `sweep` uses unless told otherwise."""

from collections.abc import Collection

from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.sweep.text_methods import DECAY, TEXT_METHODS
from modular_manifolds.experiments.task import TaskName

TEXT_STEPS, TEXT_BATCH_SIZE, TEXT_WARMUP = 2000, 12, 100
"""nanoGPT's small setting for a CPU, as are the sizes of `GPTShape`."""

SHIPPED_DECAY = 0.01
"""torch.optim.AdamW's."""

_REACH = 4


def methods_of(data: TaskName) -> Collection[str]:
    """All there are on a task."""
    return TEXT_METHODS if data is TaskName.TEXT else METHODS


def lrs_of(data: TaskName, method: str) -> tuple[float, ...]:
    """On images nine, a factor of 2 apart, around the middle one of `compare`."""
    if data is TaskName.TEXT:
        return TEXT_METHODS[method].lrs
    lrs = METHODS[method].lrs
    return tuple(lrs[len(lrs) // 2] * 2.0**k for k in range(-_REACH, _REACH + 1))


def weight_decays_of(data: TaskName) -> tuple[float, ...]:
    """AdamW's: nanoGPT's on text, on images what torch ships it with."""
    if data is TaskName.TEXT:
        return (DECAY,)
    return (SHIPPED_DECAY,)
