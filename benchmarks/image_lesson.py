"""The multilayer perceptron of the blog's CIFAR-10 experiment, trained by the code of `modular-manifolds compare`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

import torch

from benchmarks.race import Part
from modular_manifolds import Geometry, Spectral, Stiefel
from modular_manifolds.experiments.comparison import versions
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS, Method
from modular_manifolds.experiments.network import weight_shapes
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.training import Training
from modular_manifolds.linalg import Precision


def _manifold_muon(precision: Precision) -> Method:
    return replace(METHODS["manifold-muon"], geometry=lambda m, n: Geometry(Stiefel(), Spectral(), precision=precision))


IMAGE_METHODS: Mapping[str, Method] = {
    "adamw": METHODS["adamw"],
    "muon": METHODS["muon"],
    **{
        "manifold-muon" if precision == "exact" else f"manifold-muon-{precision}": _manifold_muon(precision)
        for precision in get_args(Precision)
    },
}


def default_lr(method: str) -> float:
    """The middle one of the three that `compare` tries, which is the best of them on CIFAR-10."""
    return IMAGE_METHODS[method].lrs[1]


class ImageLesson:
    """A part is an epoch; the score, the accuracy on test images in percent."""

    def __init__(self, data: Dataset, method: str, lr: float, epochs: int, seed: int) -> None:
        self.lr = lr
        defaults, chosen = DEFAULTS[data.name], IMAGE_METHODS[method]
        run = Run(
            method=method,
            optimizer=chosen.settings(weight_shapes(data.features, defaults.widths, data.classes), 0.0),
            lr=lr,
            momentum=chosen.momentum(0.0),
            seed=seed,
            data=data.name,
            data_fingerprint=data.fingerprint,
            widths=defaults.widths,
            epochs=epochs,
            batch_size=defaults.batch_size,
            threads=torch.get_num_threads(),
            versions=versions(),
        )
        self._training = Training(run, data, chosen)
        self._seconds = 0.0

    @property
    def steps_per_part(self) -> int:
        return self._training.steps_per_epoch

    def run_part(self, on_step: Callable[[float], None]) -> Part:
        epoch = self._training.run_epoch(lambda: on_step(float(self._training.loss)))
        before, self._seconds = self._seconds, self._training.result().seconds
        return Part(self._seconds - before, epoch.test_accuracy)
