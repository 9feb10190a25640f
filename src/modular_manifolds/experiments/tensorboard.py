"""TensorBoard logs of one run."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from modular_manifolds.experiments.results import Epoch


class TensorBoardLog:
    """Scalars by epoch. A run that carries on writes its past again: none is there twice or missing."""

    def __init__(self, folder: Path, past: Iterable[Epoch]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        for epoch in past:
            self.add(epoch)

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, epoch: Epoch) -> None:
        """Log the state of the network after one epoch."""
        scalars = asdict(epoch)
        step = scalars.pop("epoch")
        for name, value in scalars.items():
            split, _, measure = name.partition("_")
            self._writer.add_scalar(f"{measure}/{split}", value, step)
