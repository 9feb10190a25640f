"""A plan: every parameter's geometry and its share of one learning rate."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import fsum, inf
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modular_manifolds.geometry import Geometry
from modular_manifolds.linalg import working_dtype
from modular_manifolds.modular.gauge import Gauge
from modular_manifolds.plain_data import write_json
from modular_manifolds.projection import as_matrix, project_


@dataclass(frozen=True)
class Entry:
    """One parameter of a plan.

    Args:
        name, shape: as in `model.named_parameters()`.
        geometry: where it lives and how its updates are measured.
        mass: its share of the total change, relative to the others'.
        sensitivity: of the output to what the parameter makes of unit inputs: no update of length 1 in the geometry's
            norm changes the output by more, to first order and per unit of `input_bound`.
        budget: mass / total mass / sensitivity: its share of the learning rate.
        input_bound: no input that it acts on is longer, on the plan's domain.
        proved: whether the sensitivity is a theorem; if not, `Plan.notes` says what is taken on trust.
        uses: where it is used, one line a use.
        gauge: what can be done to it, and undone by other parameters, without a change of the network's function, of
            its manifold or of the length of an update; by the axis, e.g. "rows: S_64, columns: O(8)". "-" for nothing
            that was found, "unknown" where the graph could not be read so. See `Plan.gauges`.
    """

    name: str
    shape: tuple[int, ...]
    geometry: Geometry
    mass: float
    sensitivity: float
    budget: float
    input_bound: float
    proved: bool
    uses: tuple[str, ...] = ()
    gauge: str = "unknown"

    @property
    def dimension(self) -> int:
        """Degrees of freedom."""
        return self.geometry.manifold.dimension(self._matrix().shape)

    @property
    def removed(self) -> float:
        """The share of its numbers that the manifold takes away."""
        numbers = self._matrix().numel()
        return 1 - self.dimension / numbers if numbers else 0.0

    def _matrix(self) -> Tensor:
        return as_matrix(torch.empty(self.shape, device="meta"), self.geometry.kernel_axes)


@dataclass(frozen=True, eq=False)
class Plan(Mapping[str, Entry]):
    """Entries by parameter name; prints as a table, and goes to `ModularOptimizer` as it is.

    The guarantee: on the domain, an update with plan.norm(update) <= 1 changes the output by at most `stretch`, to
    first order. Where every input_bound is at most 1, as for well-normed modules, so is `stretch`.
    """

    entries: Mapping[str, Entry]
    domain: float
    sensitivity: float
    """Of the output to the input: a Lipschitz bound for weights anywhere on their manifolds."""
    proved: bool
    """Whether that is a theorem."""
    notes: tuple[str, ...] = ()
    """What is estimated, and what would prove it."""
    parameters: Mapping[str, nn.Parameter] | None = field(default=None, repr=False)
    found_gauges: tuple[Gauge, ...] = field(default=(), repr=False)

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def mass(self) -> float:
        """Of all parameters together."""
        return fsum(entry.mass for entry in self.values())

    @property
    def stretch(self) -> float:
        """How much the output can change, to first order, for an update of modular norm 1."""
        total = self.mass
        return fsum(entry.mass / total * entry.input_bound for entry in self.values() if entry.mass)

    def gauges(self) -> tuple[Gauge, ...]:
        """Transformations of the parameters that leave the network's function as it is.

        Looked for are permutations, signs, positive factors and rotations (or any invertible matrix) of the features
        between parameters, on one set of features at a time; nothing is said of others, such as permutations of whole
        heads. None for plans from files that were written before these were looked for.
        """
        return self.found_gauges

    def param_groups(self) -> list[dict[str, Any]]:
        """Groups for `ModularOptimizer`, one for each geometry and budget; parameters of mass 0 are in none.

        Raises:
            RuntimeError: the plan was loaded from a file; `bind` it to a model first.
        """
        groups: dict[tuple[Geometry, float], list[tuple[str, nn.Parameter]]] = {}
        for name, p in self._bound().items():
            entry = self[name]
            if entry.mass:
                groups.setdefault((entry.geometry, entry.budget), []).append((name, p))
        return [
            {"params": params, "geometry": geometry, "budget": budget} for (geometry, budget), params in groups.items()
        ]

    def project_(self) -> None:
        """Put the weights on their manifolds, in place: every one at the nearest point.

        Raises:
            RuntimeError: as for `param_groups`.
            ValueError: a parameter has a NaN or an Inf; nothing has been changed then.
        """
        params = self._bound()
        project_([{"params": [(name, params[name])], "geometry": entry.geometry} for name, entry in self.items()])

    def norm(self, update: Mapping[str, Tensor]) -> Tensor:
        """The modular norm: the largest of the updates' norms over their budgets (Large et al., arXiv 2405.14813).

        Args:
            update: tensors by parameter name, of the parameters' shapes; those left out are zero.

        Raises:
            KeyError: a name is not in the plan.
            ValueError: a tensor has another shape.
        """
        lengths = []
        for name, change in update.items():
            entry = self[name]
            if tuple(change.shape) != entry.shape:
                raise ValueError(f"the update of {name} has shape {tuple(change.shape)}, its parameter {entry.shape}")
            matrix = as_matrix(change.detach(), entry.geometry.kernel_axes)
            length = entry.geometry.norm(matrix.to(working_dtype(change.dtype)))
            longest = length.amax() if length.numel() else length.sum()
            lengths.append(longest / entry.budget if entry.budget else torch.where(longest > 0, inf, longest))
        return torch.stack([length.double().cpu() for length in lengths]).amax() if lengths else torch.tensor(0.0)

    def bind(self, model: nn.Module) -> "Plan":
        """The same plan for the parameters of a model, for one that was loaded.

        Raises:
            ValueError: the model's trainable parameters are not those of the plan.
        """
        found = {name: p for name, p in model.named_parameters() if p.requires_grad}
        for name, p in found.items():
            if name not in self:
                raise ValueError(f"{name} of {type(model).__name__} is not in the plan")
            if tuple(p.shape) != self[name].shape:
                raise ValueError(f"{name} has shape {tuple(p.shape)}, but {self[name].shape} in the plan")
        missing = [name for name in self if name not in found]
        if missing:
            raise ValueError(f"{type(model).__name__} has no {', '.join(missing[:3])}, which the plan has")
        return Plan(self.entries, self.domain, self.sensitivity, self.proved, self.notes, found, self.found_gauges)

    def _bound(self) -> Mapping[str, nn.Parameter]:
        if self.parameters is None:
            raise RuntimeError("this plan was loaded from a file and has no parameters; use plan.bind(model)")
        return self.parameters

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all; parameters' values are not part of it."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Plan":
        """The plan that was saved; `bind` it to a model before training.

        Raises:
            ValueError: the file is no plan.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no plan: {error!r}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which `from_dict` rebuilds the plan."""
        rows = []
        for entry in self.values():
            row = {**asdict(entry), "geometry": entry.geometry.to_dict()}
            rows.append({key: list(value) if isinstance(value, tuple) else value for key, value in row.items()})
        return {
            "format": "modular-manifolds plan 1",
            "domain": self.domain,
            "sensitivity": self.sensitivity,
            "proved": self.proved,
            "notes": list(self.notes),
            "entries": rows,
            "gauges": [gauge.to_dict() for gauge in self.found_gauges],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that `to_dict` described."""
        entries = {}
        for row in data["entries"]:
            values = {key: _number(value) for key, value in row.items()}
            values["geometry"] = Geometry.from_dict(row["geometry"])
            for key in ("shape", "uses"):
                values[key] = tuple(row[key])
            entries[row["name"]] = Entry(**values)
        gauges = tuple(Gauge.from_dict(row) for row in data.get("gauges", ()))
        proved, notes = data["proved"], tuple(data["notes"])
        return cls(entries, data["domain"], _number(data["sensitivity"]), proved, notes, found_gauges=gauges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        from modular_manifolds.modular.plan_table import table

        return table(self)


def _number(value: Any) -> Any:
    """Back from what JSON has no number for."""
    return float(value) if value in ("inf", "-inf", "nan") else value
