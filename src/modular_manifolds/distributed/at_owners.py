"""Functions of whole tensors, computed where the tensors are sent: never all of a model on one rank."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modular_manifolds.distributed.exchange import Exchange
from modular_manifolds.distributed.layout import Layout
from modular_manifolds.distributed.owners import balanced_owners
from modular_manifolds.distributed.sharded import Spread, local
from modular_manifolds.distributed.team import Team


@dataclass(frozen=True)
class Item:
    """A tensor of which this rank holds a part, and its name."""

    name: str
    tensor: Tensor
    spread: Spread


def described(names: Sequence[str], shape: Sequence[int]) -> str:
    """A few parameters, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} of shape {tuple(shape)}"


def at_owners(items: Sequence[Item], function: Callable[[Tensor], Tensor]) -> list[float]:
    """A number for every tensor, from a function of the whole one; known to all ranks of its team."""
    values = [0.0] * len(items)
    for team, places in _teams(items):
        found = torch.zeros(len(places), dtype=torch.float64)
        row = {place: k for k, place in enumerate(places)}
        for exchange, of_shape in _exchanges(items, places, team):
            wholes = exchange.collect([[local(items[i].tensor)] for i in of_shape])()
            for j, (whole,) in zip(exchange.owned, wholes, strict=True):
                found[row[of_shape[j]]] = function(whole).double()
        total = team.total(found.to(local(items[places[0]].tensor).device), f"numbers of {items[places[0]].name}")
        for place, value in zip(places, total.tolist(), strict=True):
            values[place] = value
    return values


def added_up(items: Sequence[Item], function: Callable[[Tensor], Tensor]) -> list[float]:
    """A number for every tensor: what a function of the parts adds up to; known to all ranks of its team."""
    values = [0.0] * len(items)
    for team, places in _teams(items):
        found = torch.stack([function(local(items[i].tensor)).double() for i in places])
        total = team.total(found, f"sums over {items[places[0]].name}")
        for place, value in zip(places, total.tolist(), strict=True):
            values[place] = value
    return values


@torch.no_grad()
def replace_at_owners(items: Sequence[Item], function: Callable[[Tensor], Tensor]) -> None:
    """Overwrite every tensor, in place, by a function of the whole one."""
    for team, places in _teams(items):
        for exchange, of_shape in _exchanges(items, places, team):
            parts = [[local(items[i].tensor)] for i in of_shape]
            wholes = exchange.collect(parts)()
            exchange.spread([[function(whole)] for (whole,) in wholes], parts)()


def _teams(items: Sequence[Item]) -> Iterator[tuple[Team, list[int]]]:
    teams: dict[Team, list[int]] = {}
    for i, item in enumerate(items):
        teams.setdefault(item.spread.team, []).append(i)
    yield from teams.items()


def _exchanges(items: Sequence[Item], places: list[int], team: Team) -> Iterator[tuple[Exchange, list[int]]]:
    """One for each layout: a shape at a time, so that little is in memory at once."""
    layouts: dict[tuple[Layout, torch.dtype], list[int]] = {}
    for i in places:
        layouts.setdefault((items[i].spread.layout, items[i].tensor.dtype), []).append(i)
    for (layout, _), of_shape in layouts.items():
        what = described([items[i].name for i in of_shape], layout.shape)
        owners = balanced_owners([1.0] * len(of_shape), team.size)
        yield Exchange(team, [layout] * len(of_shape), owners, what), of_shape
