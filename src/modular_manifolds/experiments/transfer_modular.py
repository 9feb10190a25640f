"""The same networks put together from modules that know their mass and sensitivity."""

from torch import nn

import modular_manifolds.nn as mnn
from modular_manifolds.experiments.task import Task
from modular_manifolds.experiments.text import Text
from modular_manifolds.experiments.transfer_images import Images
from modular_manifolds.experiments.transfer_standard import HEAD

FINAL_SCALE = 8.0
"""Of the logits: they are no longer than this in root-mean-square, at any width and depth."""

SOFTMAX_SCALE = 8.0
"""Of every attention. With 1, as published, no weight can exceed another more than e^2-fold, and a GPT hardly learns
more from its context, in as many steps as there are here, than from the last character. The price: a block's
sensitivity is no longer 1, and a tower's grows with its depth, to e^(7/3) at most."""


def wide(task: Task, width: int, depth: int) -> nn.Module:
    """As `transfer_standard.wide`."""
    if isinstance(task, Images):
        return FINAL_SCALE * mnn.MLP(task.features, width, task.classes, depth)
    return deep(task, width, depth)


def deep(task: Task, width: int, depth: int) -> nn.Module:
    """As `transfer_standard.deep`, with (1 - 1/depth) x + (1/depth) linear(relu(x)) for blocks, of mass 1 together."""
    if isinstance(task, Images):
        blocks = mnn.tower(mnn.Linear(width, width) @ mnn.ReLU(), depth).tare()
        last = mnn.Linear(width, task.classes) @ mnn.ReLU()
        return FINAL_SCALE * last @ blocks @ mnn.Linear(task.features, width)
    assert isinstance(task, Text)
    heads = max(1, width // HEAD)
    return mnn.GPT(task.classes, width, heads, depth, softmax_scale=SOFTMAX_SCALE, final_scale=FINAL_SCALE)
