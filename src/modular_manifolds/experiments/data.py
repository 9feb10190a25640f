"""The data sets of the comparison, each as one matrix of inputs and one vector of labels a split."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor


class DataName(StrEnum):
    """The data sets there are."""

    DIGITS = "digits"
    CIFAR10 = "cifar10"


class DataError(ValueError):
    """A data file is missing or is not what it should be; the message says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs around 0, one row an image, and their labels."""

    inputs: Float[Tensor, "images features"]
    labels: Int[Tensor, " images"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split; `fingerprint` tells two copies with different pixels apart."""

    name: DataName
    classes: int
    train: Split
    test: Split
    fingerprint: str

    @property
    def features(self) -> int:
        """Length of one input."""
        return self.train.inputs.shape[1]


def load(name: DataName, folder: Path | None = None) -> Dataset:
    """The data set called `name`; `folder` holds CIFAR-10's files (None: fetch them once, from the hub)."""
    if name is DataName.DIGITS:
        return load_digits()
    from modular_manifolds.experiments import cifar10

    return cifar10.load(folder)


def load_digits() -> Dataset:
    """Scikit-learn's 1,797 handwritten digits (8 x 8), a fifth of every class held out for testing."""
    from sklearn.datasets import load_digits as bundled_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = bundled_digits(return_X_y=True)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=0.2, stratify=labels, random_state=0
    )
    return Dataset(
        name=DataName.DIGITS,
        classes=10,
        train=_digits_split(train_pixels, train_labels),
        test=_digits_split(test_pixels, test_labels),
        fingerprint=fingerprint(pixels.tobytes(), labels.tobytes()),
    )


def fingerprint(*contents: bytes) -> str:
    """Short digest of a data set's raw contents."""
    digest = sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:16]


def _digits_split(pixels: object, labels: object) -> Split:
    # Pixels count from 0 to 16. Orthonormal weights can move two images no further apart than they are, so the images
    # must be long enough to be told apart: centred, they are 54 long on average, as CIFAR-10's are.
    return Split(torch.as_tensor(pixels, dtype=torch.float32) - 8, torch.as_tensor(labels))
