"""The soft constraint against the hard one and against none, with one optimizer under all of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch.distributed import ProcessGroup

from modular_manifolds.experiments.comparison import Comparison, Finished, command_line
from modular_manifolds.experiments.constraints import Raw, Start, constraints
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.methods import Method
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.trace import Movement, TracedTraining


@dataclass(frozen=True)
class Softening(Comparison):
    """A comparison whose methods are the constraints."""

    optimizer: str
    kappas: tuple[float, ...]
    start: Start

    @property
    def table(self) -> Mapping[str, Method]:
        """The constraints by name."""
        return constraints(self.optimizer, self.kappas, self.start)

    def training(self, run: Run, data: Dataset, group: ProcessGroup | None = None) -> TracedTraining:
        """A run of the grid, at its start."""
        if group is not None:
            raise ValueError("a trace records the loss of whole batches, which no process of several sees; use nproc=1")
        return TracedTraining(run, data, self.table[run.method])

    def command(self) -> str:
        """The command line that repeats this."""
        options: dict[str, object] = {
            "data": self.data,
            "data-dir": self.data_dir,
            "optimizer": self.optimizer,
            "kappas": ",".join(f"{kappa:g}" for kappa in self.kappas),
            "lrs": ",".join(map(str, self.lrs or ())),
            "start": self.start,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "widths": ",".join(map(str, self.widths)),
            "threads": self.threads,
            "out": self.out,
        }
        return command_line("soften", options)


def movements(finished: Finished) -> dict[Run, Movement]:
    """How the weights of every run moved."""
    table = finished.comparison.table
    moved = {}
    for run in finished.results:
        method = table[run.method]
        moved[run] = Movement.of(finished.store.weights(run), method.kappa if isinstance(method, Raw) else None)
    return moved


def write_movements(finished: Finished, moved: Mapping[Run, Movement]) -> None:
    """Write results.json again, with the movement of every run beside its result."""
    rows = [{**result.to_json(), "movement": plain(asdict(moved[run]))} for run, result in finished.results.items()]
    write_atomically(finished.comparison.results_path, json.dumps(rows, indent=1).encode())
