"""How many numbers a model is free to choose once its weights are on their manifolds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from modular_manifolds.manifolds import Manifold
from modular_manifolds.projection import as_matrix, assignments, manifold_of, named_parameters
from modular_manifolds.text_table import align


@dataclass(frozen=True)
class Row:
    """One parameter. `manifold` is None where nothing holds it."""

    name: str
    shape: tuple[int, ...]
    manifold: Manifold | None
    parameters: int
    dimension: int

    @property
    def removed(self) -> float:
        """The share of its numbers that the manifold takes away."""
        return _share(self.parameters, self.dimension)


@dataclass(frozen=True)
class DegreesOfFreedom:
    """The parameters of a model one by one, and in total; prints as a table."""

    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Numbers stored."""
        return sum(row.parameters for row in self.rows)

    @property
    def dimension(self) -> int:
        """Numbers free to choose."""
        return sum(row.dimension for row in self.rows)

    @property
    def removed(self) -> float:
        """The share that the manifolds take away."""
        return _share(self.parameters, self.dimension)

    def __str__(self) -> str:
        lines = [("parameter", "shape", "manifold", "numbers", "free", "removed")]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape)) or "scalar"
            lines.append((row.name, shape, str(row.manifold or "-"), *_counts(row)))
        lines.append(("total", "", "", *_counts(self)))
        return "\n".join(align(lines, right={3, 4, 5}))


def degrees_of_freedom(target: Any, manifold: Manifold | None = None) -> DegreesOfFreedom:
    """Count the dimension of every parameter's manifold, and the share that the constraints remove.

    Args:
        target: as for `project_`: an optimizer or a list of its parameter groups, whose parameters are on their group's
            manifold, or free where that is None; or a module, a parameter, or a list of parameters, all on `manifold`.
        manifold: for targets that have none of their own; default Stiefel(). It only counts: where the weights are
            does not matter.

    Raises:
        TypeError, ValueError: as for `project_`; also where a manifold has no points of a parameter's shape.
    """
    return DegreesOfFreedom(tuple(_rows(target, manifold)))


def _rows(target: Any, manifold: Manifold | None) -> Iterator[Row]:
    for (name, p), where, kernel_axes in assignments(target, manifold):
        shape = as_matrix(p, kernel_axes).shape
        yield Row(name, tuple(p.shape), where, p.numel(), where.dimension(shape))
    groups = target.param_groups if isinstance(target, Optimizer) else [target] if isinstance(target, dict) else target
    for i, group in enumerate(groups if isinstance(groups, list | tuple) else []):
        if isinstance(group, dict) and manifold_of(group) is None:
            for name, p in named_parameters(group, f"group {i}"):
                yield Row(name, tuple(p.shape), None, p.numel(), p.numel())


def _counts(counted: Row | DegreesOfFreedom) -> tuple[str, str, str]:
    return f"{counted.parameters:,}", f"{counted.dimension:,}", f"{100 * counted.removed:.1f} %"


def _share(parameters: int, dimension: int) -> float:
    return 1 - dimension / parameters if parameters else 0.0
