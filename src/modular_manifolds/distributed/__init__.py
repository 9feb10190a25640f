"""Where a tensor lives, and where it is solved: layouts on a mesh, owners, and what is sent between them."""

from modular_manifolds.distributed.at_owners import Item, added_up, at_owners, described, replace_at_owners
from modular_manifolds.distributed.exchange import Exchange
from modular_manifolds.distributed.layout import Box, Layout
from modular_manifolds.distributed.owners import balanced_owners
from modular_manifolds.distributed.routes import Machine
from modular_manifolds.distributed.sharded import LocalState, Spread, gathered, like, local, spread_of
from modular_manifolds.distributed.team import RankError, Team

__all__ = [
    "Box",
    "Exchange",
    "Item",
    "Layout",
    "LocalState",
    "Machine",
    "RankError",
    "Spread",
    "Team",
    "added_up",
    "at_owners",
    "balanced_owners",
    "described",
    "gathered",
    "like",
    "local",
    "replace_at_owners",
    "spread_of",
]
