"""A data set of a few points and runs on it, small enough to train in milliseconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from modular_manifolds.experiments.comparison import Comparison
from modular_manifolds.experiments.data import DataName, Dataset, Split
from modular_manifolds.experiments.results import Epoch, Layer, Result
from modular_manifolds.experiments.run import Run


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from threads, and lose much where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data() -> Dataset:
    """Three noisy clusters in 8 dimensions."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(3, 8, generator=generator)

    def split(count: int) -> Split:
        labels = torch.randint(3, (count,), generator=generator)
        return Split(centres[labels] + torch.randn(count, 8, generator=generator), labels)

    return Dataset(DataName.DIGITS, classes=3, train=split(50), test=split(20), fingerprint="three clusters")


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """Builds a result of 100 steps; keywords replace fields."""

    def make(**fields: object) -> Result:
        defaults: dict[str, object] = {
            "method": "muon",
            "lr": 0.1,
            "seed": 0,
            "train_loss": 1.0,
            "test_loss": 1.5,
            "train_accuracy": 60.0,
            "test_accuracy": 50.0,
            "seconds": 2.0,
            "optimizer_seconds": 0.5,
            "violation": 0.5,
            "layers": (Layer("layers.0.weight", (4, 3), 0.5, 1.0, 0.5),),
            "data": "digits",
            "epochs": 1,
            "batch_size": 16,
            "momentum": 0.95,
            "steps": 100,
            "curve": (Epoch(0, 2.3, 2.3, 10.0, 10.0), Epoch(1, 1.0, 1.5, 60.0, 50.0)),
        }
        return Result(**{**defaults, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def make_comparison_in() -> Callable[..., Comparison]:
    """Builds a comparison of two methods, two learning rates and two seeds; keywords replace settings."""

    def make(out: Path, **settings: object) -> Comparison:
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
        }
        return Comparison(out=out, **{**defaults, **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_comparison(make_comparison_in: Callable[..., Comparison], tmp_path: Path) -> Callable[..., Comparison]:
    """The same, all in one folder of the test's own unless told otherwise."""
    return lambda **settings: make_comparison_in(**{"out": tmp_path / "out", **settings})
