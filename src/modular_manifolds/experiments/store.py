"""Runs on disk, a folder each: whatever was finished is found again, whatever was damaged is not believed."""

import io
import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from modular_manifolds.experiments.files import (
    DamagedFileError,
    read_sealed,
    write_atomically,
    write_sealed,
)
from modular_manifolds.experiments.results import Result
from modular_manifolds.experiments.run import Run


class RunStore:
    """`folder`/<key>/: checkpoint.sealed during a run, then weights.safetensors and, last, metrics.json.

    metrics.json holds the digests of the weights and of its own result, so a run whose files were damaged
    since counts as not finished.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def weights_path(self, run: Run) -> Path:
        """Where a finished run's weights are."""
        return self._folder / run.key / "weights.safetensors"

    def result(self, run: Run) -> Result | None:
        """The outcome of a finished run; None if it is not finished, or damaged."""
        try:
            record = json.loads(self._metrics_path(run).read_bytes())
            intact = (
                record["result_sha256"] == _digest(record["result"])
                and record["weights_sha256"] == sha256(self.weights_path(run).read_bytes()).hexdigest()
            )
            return Result.from_json(record["result"]) if intact else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(self, run: Run, result: Result, weights: dict[str, Tensor]) -> None:
        """Record a finished run: it is finished once metrics.json is there."""
        content = safetensors.torch.save(weights)
        write_atomically(self.weights_path(run), content)
        row = result.to_json()
        record = {
            "settings": asdict(run),
            "result": row,
            "result_sha256": _digest(row),
            "weights_sha256": sha256(content).hexdigest(),
        }
        write_atomically(self._metrics_path(run), json.dumps(record, indent=1).encode())
        self._checkpoint_path(run).unlink(missing_ok=True)

    def weights(self, run: Run) -> dict[str, Tensor]:
        """A finished run's weights, by name."""
        return safetensors.torch.load_file(self.weights_path(run))

    def checkpoint(self, run: Run) -> dict[str, Any] | None:
        """The last state that `save_checkpoint` was given; None if there is none, or it is damaged."""
        try:
            content = read_sealed(self._checkpoint_path(run))
            state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
            return state
        except (OSError, DamagedFileError):
            return None

    def save_checkpoint(self, run: Run, state: dict[str, Any]) -> None:
        """Replace the run's checkpoint."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_sealed(self._checkpoint_path(run), buffer.getvalue())

    def _metrics_path(self, run: Run) -> Path:
        return self._folder / run.key / "metrics.json"

    def _checkpoint_path(self, run: Run) -> Path:
        return self._folder / run.key / "checkpoint.sealed"


def _digest(row: dict[str, Any]) -> str:
    return sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
