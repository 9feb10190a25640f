"""Distributed steps: simulated up to thousands of ranks, and what a few processes on this machine send and keep."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.distributed_cost import SMALL, TRANSFORMERS, UNEVEN, Cost, Route, Transformer, step_cost
from benchmarks.numbers import significant
from modular_manifolds.distributed.routes import Machine

SHARDINGS = ("rows", "hybrid")
"""Over all ranks, as `fully_shard` on one axis; within `Transformer.shard` ranks, copied over the others."""

_NAMES = {Route.OWNERS: "owners", Route.ROWS: "sums over rows", Route.CHOSEN: "chosen", Route.MUON: "Muon at owners"}


@dataclass(frozen=True)
class Row:
    """One method of stepping one model on so many ranks."""

    model: str
    sharding: str
    ranks: int
    copies: int
    route: Route
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "route": str(self.route), "cost": asdict(self.cost), "seconds": self.cost.seconds}


def simulate(models: Sequence[str], ranks: Sequence[int], machine: Machine) -> list[Row]:
    """Every model, both shardings, every number of ranks that can hold a copy, every method."""
    rows = []
    for name in models:
        model = TRANSFORMERS[name]
        for sharding in SHARDINGS:
            for size in ranks:
                copies = size // model.shard if sharding == "hybrid" else 1
                if size < model.shard or size % model.shard:
                    continue
                rows += [
                    Row(
                        name,
                        sharding,
                        size,
                        copies,
                        route,
                        step_cost(model.groups, route, size // copies, copies, machine),
                    )
                    for route in Route
                ]
    return rows


def report(rows: Sequence[Row], machine: Machine) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "distributed-simulated",
        "simulated": True,
        "machine": asdict(machine),
        "dtype": "float32",
        "precision": "balanced",
        "models": {name: {**asdict(model), "parameters": model.parameters} for name, model in _models(rows).items()},
        "rows": [row.to_dict() for row in rows],
    }


def _models(rows: Sequence[Row]) -> dict[str, Transformer]:
    return {row.model: TRANSFORMERS[row.model] for row in rows}


def table(rows: Sequence[Row]) -> Table:
    """A line for each number of ranks, with all methods."""
    result = Table(
        title="A step, simulated: seconds (of which communication)",
        box=box.SIMPLE_HEAD,
        caption="Nothing of this was measured. Nothing is taken to be hidden behind something else.",
        caption_justify="left",
        padding=(0, 1),
        pad_edge=False,
    )
    for column in ("model", "sharding", "ranks"):
        result.add_column(column, no_wrap=True)
    for route in Route:
        result.add_column(_NAMES[route], justify="right", no_wrap=True)
    result.add_column("MB sent, mean/busiest", justify="right", no_wrap=True)
    places = dict.fromkeys((row.model, row.sharding, row.ranks) for row in rows)
    for model, sharding, ranks in places:
        costs = {r.route: r.cost for r in rows if (r.model, r.sharding, r.ranks) == (model, sharding, ranks)}
        chosen = costs[Route.CHOSEN]
        result.add_row(
            model,
            sharding,
            str(ranks),
            *(f"{significant(cost.seconds)} ({significant(cost.communication, 2)})" for cost in costs.values()),
            f"{significant(chosen.sent / 1e6)}/{significant(chosen.busiest / 1e6)}",
        )
    return result


def count_bytes(sizes: Sequence[int], console: Console) -> list[dict[str, Any]]:
    """Bytes that leave a process in a step, the mean over all of them, beside what the model predicts.

    Counted from what collectives are given; and written to its connections, as the kernel says.
    """
    from torch.distributed.tensor import Placement, Replicate, Shard

    from modular_manifolds.distributed.routes import CPU
    from tests.distributed import programs
    from tests.distributed.gang import Gang

    machines = {"owners": programs.OWNER, "rows": programs.ROWS, "usual": CPU}
    found = []
    for size in sizes:
        gang = Gang(size)
        try:
            for mesh in [(size,), *([(2, size // 2)] if size > 2 else [])]:
                copies = size // mesh[-1]
                placements: list[Placement] = [*([Replicate()] if len(mesh) > 1 else []), Shard(0)]
                for shapes, groups in {SMALL.name: SMALL.groups, "uneven": UNEVEN}.items():
                    each = [(m, n) for m, n, count in groups for _ in range(count)]
                    for name, machine in machines.items():
                        with console.status(f"{size} ranks: {shapes}, {name}"):
                            sent = gang.run(programs.written_in_a_step, each, mesh, placements, machine)
                        counted, written = (sum(numbers) / size for numbers in zip(*sent, strict=True))
                        cost = step_cost(groups, Route.CHOSEN, mesh[-1], copies, machine, itemsize=8)
                        found.append(
                            {
                                "ranks": size,
                                "mesh": mesh,
                                "shapes": shapes,
                                "route": name,
                                "counted": counted,
                                "written": written,
                                "predicted": cost.sent,
                            }
                        )
        finally:
            gang.end()
    return found


def bytes_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Counted beside predicted."""
    result = Table(title="Bytes that leave a rank in a step", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("ranks", "mesh", "shapes", "route", "written", "counted", "predicted", "off"):
        result.add_column(column, justify="right")
    for row in rows:
        off = row["predicted"] / row["written"] - 1
        result.add_row(
            str(row["ranks"]),
            "x".join(map(str, row["mesh"])),
            row["shapes"],
            row["route"],
            f"{row['written']:.0f}",
            f"{row['counted']:.0f}",
            f"{row['predicted']:.0f}",
            f"{off:+.2%}",
        )
    return result


def measure_memory(sizes: Sequence[int], matrices: int, side: int, console: Console) -> list[dict[str, Any]]:
    """Bytes that each rank keeps of a sharded model of square matrices, and the most that a step has at a time."""
    from benchmarks.distributed_memory import memory_of_a_step
    from tests.distributed.gang import Gang

    found = []
    for size in sizes:
        gang = Gang(size, timeout=600.0, patience=600.0)
        try:
            with console.status(f"{size} ranks"):
                ranks = gang.run(memory_of_a_step, matrices, side)
            worst = {name: max(rank[name] for rank in ranks) for name in ranks[0]}
            found.append({"ranks": size, "matrices": matrices, "side": side, **worst})
        finally:
            gang.end()
    return found


def memory_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Of the rank with the most."""
    result = Table(title="Memory of a rank, MB: the largest of all ranks", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ("ranks", "weights", "state", "gradients", "resident before", "peak of a step", "above", "seconds")
    for column in columns:
        result.add_column(column, justify="right")
    for row in rows:
        sizes = (row[name] / 1e6 for name in ("weights", "state", "gradients", "before", "peak", "transient"))
        result.add_row(str(row["ranks"]), *(f"{x:.0f}" for x in sizes), significant(row["seconds"]))
    return result
