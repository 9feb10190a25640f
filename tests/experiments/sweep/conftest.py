"""A text of one sentence and courses of a few steps."""

import pytest
import torch
from rich.console import Console

from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.sweep import diagnostics
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.gpt import GPTShape
from modular_manifolds.experiments.sweep.image_course import ImageCourse
from modular_manifolds.experiments.sweep.study import Sweep
from modular_manifolds.experiments.sweep.text_course import TextCourse
from modular_manifolds.experiments.sweep.trial import Outcome
from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.text import Text


class Recorder(StudyDisplay):
    """Counts the trials that are trained here; can be told to fail before one, as a killed process would."""

    def __init__(self, trials_until_killed=None):
        super().__init__(Console(quiet=True))
        self.trained = 0
        self._left = trials_until_killed

    def started(self, what, steps):
        if self.trained == self._left:
            raise KeyboardInterrupt
        self.trained += 1


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture(scope="session")
def text():
    return Text.of("to be, or not to be: that is the question. " * 16, "a speech")


@pytest.fixture(scope="session")
def text_course():
    return TextCourse(GPTShape(layers=2, heads=2, width=16), steps=10, batch_size=4, warmup=2)


@pytest.fixture(scope="session")
def image_course():
    return ImageCourse(widths=(6, 4), epochs=2, batch_size=16, momentum=0.0, warmup=0)


@pytest.fixture
def make_sweep(tmp_path, image_course):
    """Of two methods on images; keywords replace settings."""

    def make(**settings):
        defaults = {
            "data": TaskName.DIGITS,
            "data_dir": None,
            "file": None,
            "lrs": {"manifold-muon": (0.1, 0.3), "adamw": (0.01, 0.1)},
            "weight_decays": (0.01,),
            "weights": (WeightFormat.FLOAT32,),
            "seeds": 2,
            "course": image_course,
            "threads": 1,
            "workers": 1,
            "out": tmp_path / "out",
        }
        return Sweep(**{**defaults, **settings})

    return make


@pytest.fixture
def make_outcome():
    """An outcome of this loss and accuracy; keywords replace fields."""

    def make(loss=1.0, accuracy=None, **fields):
        defaults = {
            "train_loss": loss,
            "diverged": False,
            "steps": 10,
            "seconds": 1.0,
            "optimizer_seconds": 0.5,
            "violation": None,
            "curve_every": 1,
            "train_curve": (2.0, loss),
        }
        return Outcome(loss, accuracy, **{**defaults, **fields})

    return make


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch):
    monkeypatch.setattr(diagnostics, "SAMPLE", 30)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
