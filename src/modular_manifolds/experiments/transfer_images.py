"""Digits and CIFAR-10 as tasks of the transfer study."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from modular_manifolds.experiments.cifar10 import SIZE
from modular_manifolds.experiments.data import DataName, Dataset, Split, load
from modular_manifolds.experiments.task import TaskName

_PIECE = 4096


@dataclass(frozen=True, eq=False)
class Images:
    """Images as vectors of root-mean-square 1 on average over the training set, as modules expect their inputs."""

    name: TaskName
    classes: int
    fingerprint: str
    train: Split
    test: Split

    @classmethod
    def of(cls, data: Dataset) -> "Images":
        """The images of `data`, scaled."""
        length = data.train.inputs.square().mean().sqrt()
        train, test = (Split(split.inputs / length, split.labels) for split in (data.train, data.test))
        return cls(TaskName(data.name), data.classes, data.fingerprint, train, test)

    @property
    def features(self) -> int:
        """Length of one input."""
        return self.train.inputs.shape[1]

    def batch(
        self, size: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch features"], Int[Tensor, " batch"]]:
        """Training images drawn with replacement, and their classes."""
        chosen = torch.randint(len(self.train), (size,), generator=generator)
        return self.train.inputs[chosen], self.train.labels[chosen]

    def held_out(self) -> Iterator[tuple[Float[Tensor, "batch features"], Int[Tensor, " batch"]]]:
        """The test images."""
        yield from zip(torch.split(self.test.inputs, _PIECE), torch.split(self.test.labels, _PIECE), strict=True)


def load_images(name: TaskName, folder: Path | None) -> Images:
    """Digits, or CIFAR-10 at half its resolution, which makes networks of width 1024 affordable on a CPU.

    Raises:
        DataError: a file is missing or damaged.
    """
    data = load(DataName(name), folder)
    if name is TaskName.DIGITS:
        return Images.of(data)
    train, test = (Split(_halved(split.inputs), split.labels) for split in (data.train, data.test))
    return Images.of(Dataset(data.name, data.classes, train, test, data.fingerprint))


def _halved(inputs: Float[Tensor, "images features"]) -> Float[Tensor, "images quarter"]:
    return functional.avg_pool2d(inputs.reshape(len(inputs), -1, *SIZE), 2).flatten(1)
