"""What networks learn in a study: batches to train on, and examples held out."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


class TaskName(StrEnum):
    """The tasks there are."""

    DIGITS = "digits"
    CIFAR10 = "cifar10"
    TEXT = "text"


class Task(Protocol):
    """Inputs with a class each, or a class a position."""

    @property
    def name(self) -> TaskName:
        """Which task it is."""

    @property
    def classes(self) -> int:
        """How many logits a prediction has."""

    @property
    def fingerprint(self) -> str:
        """Tells two copies of the data apart."""

    def batch(
        self, size: int, generator: torch.Generator
    ) -> tuple[Shaped[Tensor, "batch inputs"], Int[Tensor, "batch *positions"]]:
        """Training examples drawn with replacement, and their classes."""

    def held_out(self) -> Iterator[tuple[Shaped[Tensor, "batch inputs"], Int[Tensor, "batch *positions"]]]:
        """The same examples every time, none of which is trained on, in pieces of bounded size."""
