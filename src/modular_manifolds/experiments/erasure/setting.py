"""The two settings: as published, with its slip, and corrected."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modular_manifolds.experiments.cifar10 import MEAN, SIZE, STD
from modular_manifolds.experiments.data import DataName, Dataset, Split


class Setting(StrEnum):
    """How images are drawn, and what a network sees of them."""

    CORRECTED = "corrected"
    PUBLISHED = "as published"


@dataclass(frozen=True, eq=False)
class Images:
    """What is trained on and tested with; batches are drawn from the first `drawn` training images."""

    train: Split
    test: Split
    drawn: int

    @property
    def seen(self) -> Split:
        """The training images that are drawn."""
        return Split(self.train.inputs[: self.drawn], self.train.labels[: self.drawn])

    def batch(self, size: int, generator: torch.Generator) -> tuple[Float[Tensor, "batch in"], Int[Tensor, " batch"]]:
        """So many images with their labels, drawn with replacement."""
        chosen = torch.randint(self.drawn, (size,), generator=generator)
        return self.train.inputs[chosen], self.train.labels[chosen]


def images(data: Dataset, setting: Setting) -> Images:
    """Of `data`, in this setting.

    As published, pixels are from 0 to 1, and the index of an image is drawn below the number of *features*, so that of
    CIFAR-10 only the first 3,072 images are ever seen. Corrected, all are; the mean image is taken off and what remains
    is brought to a root mean square of 1.
    """
    if setting is Setting.PUBLISHED:
        train, test = (Split(_pixels(data.name, split.inputs), split.labels) for split in (data.train, data.test))
        return Images(train, test, min(data.features, len(train)))
    mean = data.train.inputs.mean(0)
    size = (data.train.inputs - mean).square().mean().sqrt()
    train, test = (Split((split.inputs - mean) / size, split.labels) for split in (data.train, data.test))
    return Images(train, test, len(train))


def _pixels(name: DataName, inputs: Float[Tensor, "images in"]) -> Float[Tensor, "images in"]:
    """From 0 to 1, of what `data.load` made of them."""
    if name is DataName.DIGITS:
        return (inputs + 8) / 16
    std, mean = (torch.tensor(values).repeat_interleave(SIZE[0] * SIZE[1]) for values in (STD, MEAN))
    return inputs * std + mean
