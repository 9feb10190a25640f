"""A data set of a few points and runs on it, small enough to train in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modular_manifolds.experiments.comparison import Comparison
from modular_manifolds.experiments.data import DataName, Dataset, Split
from modular_manifolds.experiments.run import Run


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrices this small gain nothing from threads, and lose much where the cores are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Dataset:
    """Three noisy clusters in 8 dimensions."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(3, 8, generator=generator)

    def split(count: int) -> Split:
        labels = torch.randint(3, (count,), generator=generator)
        return Split(centres[labels] + torch.randn(count, 8, generator=generator), labels)

    return Dataset(DataName.DIGITS, classes=3, train=split(50), test=split(20), fingerprint="three clusters")


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Builds a run of 3 epochs; keywords replace settings."""

    def make(**settings: object) -> Run:
        defaults: dict[str, object] = {
            "method": "manifold-muon",
            "optimizer": "",
            "lr": 0.1,
            "momentum": 0.0,
            "seed": 0,
            "data": DataName.DIGITS,
            "data_fingerprint": "three clusters",
            "widths": (6, 4),
            "epochs": 3,
            "batch_size": 16,
            "threads": 1,
            "versions": "",
        }
        return Run(**{**defaults, **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_comparison(tmp_path: Path) -> Callable[..., Comparison]:
    """Builds a comparison of two methods, two learning rates and two seeds; keywords replace settings."""

    def make(**settings: object) -> Comparison:
        defaults: dict[str, object] = {
            "data": DataName.DIGITS,
            "data_dir": None,
            "methods": ("manifold-muon", "muon"),
            "lrs": (0.03, 0.1),
            "seeds": 2,
            "epochs": 3,
            "batch_size": 16,
            "momentum": 0.0,
            "widths": (6, 4),
            "threads": 1,
            "out": tmp_path / "out",
        }
        return Comparison(**{**defaults, **settings})  # type: ignore[arg-type]

    return make
