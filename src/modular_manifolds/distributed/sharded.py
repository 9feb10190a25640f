"""Tensors of which this rank holds a part."""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from modular_manifolds.distributed.layout import Layout
from modular_manifolds.distributed.team import Team


@dataclass(frozen=True)
class Spread:
    """Where a tensor lies: its layout, on a team of ranks."""

    team: Team
    layout: Layout


def spread_of(name: str, x: Tensor, replicas: Team | None = None) -> Spread | None:
    """Where a parameter lies; None for one that is this process's own.

    Args:
        name: to call it in errors.
        x: a DTensor, or any other tensor.
        replicas: ranks that all hold the same tensor, if it is no DTensor.

    Raises:
        TypeError: a DTensor is a sum yet to be made.
        ValueError: its local part is not what its placements say.
    """
    if not isinstance(x, DTensor):
        return Spread(replicas, Layout.replicated(x.shape, replicas.size)) if replicas is not None else None
    team = Team.of_mesh(x.device_mesh)
    try:
        layout = Layout.of(x)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
    expected, found = layout.boxes[team.rank].shape, tuple(local(x).shape)
    if expected != found:
        raise ValueError(
            f"{name} of shape {layout.shape} is placed as {x.placements} on {x.device_mesh}: rank "
            f"{team.ranks[team.rank]} should hold {expected} of it, but holds {found}; redistribute it"
        )
    return Spread(team, layout)


@torch.no_grad()
def local(x: Tensor) -> Tensor:
    """This rank's part, sharing memory with x; x itself if it is no DTensor."""
    return x.to_local() if isinstance(x, DTensor) else x


def gathered(x: Tensor) -> Tensor:
    """The whole tensor, on every rank: a collective call for a DTensor; x itself if it is none."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def like(x: Tensor, part: Tensor) -> Tensor:
    """A DTensor, placed as x, of which `part` is this rank's; `part` itself if x is no DTensor."""
    if not isinstance(x, DTensor):
        return part
    return DTensor.from_local(
        part, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=tuple(x.stride())
    )


class LocalState(MutableMapping[str, Any]):
    """An optimizer's state of one parameter as a rank sees it: of what has the parameter's shape, its part."""

    def __init__(self, states: MutableMapping[Tensor, MutableMapping[str, Any]], p: Tensor) -> None:
        self._states, self._p = states, p

    def __getitem__(self, name: str) -> Any:
        value = self._states.get(self._p, {})[name]
        return local(value) if isinstance(value, Tensor) else value

    def __setitem__(self, name: str, value: Any) -> None:
        fits = isinstance(value, Tensor) and value.shape == local(self._p).shape
        self._states[self._p][name] = like(self._p, value) if fits else value

    def __delitem__(self, name: str) -> None:
        del self._states[self._p][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states.get(self._p, {}))

    def __len__(self) -> int:
        return len(self._states.get(self._p, {}))
