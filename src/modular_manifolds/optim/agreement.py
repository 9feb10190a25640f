"""Whether all ranks bring the same parameters and settings: if not, they would wait for each other for ever."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from modular_manifolds.distributed import Spread, Team
from modular_manifolds.projection import NamedParameter


def check_agreement(
    settings: Mapping[str, Any], named: list[NamedParameter], spreads: Mapping[Tensor, Spread | None]
) -> None:
    """Compare a group with that of all ranks that hold parts of its parameters: a collective call for them.

    Args:
        settings: the group as plain data.
        named: its parameters.
        spreads: where they lie; None for what is this process's own.

    Raises:
        ValueError: ranks differ. All of them raise the same error, which names the first parameter in which a rank
            differs from the first rank.
    """
    teams: dict[Team, list[str]] = {}
    for name, p in named:
        spread = spreads[p]
        if spread is not None:
            entry = f"{name} of shape {spread.layout.shape}, {p.dtype}, placed {spread.layout.placements}"
            teams.setdefault(spread.team, []).append(entry)
    # a tensor by its value: its device differs from rank to rank
    plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in settings.items()}
    own = {name: repr(value) for name, value in plain.items() if name not in ("params", "param_names")}
    for team, entries in teams.items():
        answers = team.everyone((entries, own), f"a new group with {entries[0]}")
        first, first_own = answers[0]
        for rank, (others, other_own) in zip(team.ranks, answers, strict=True):
            for i in range(max(len(first), len(others))):
                here, there = (x[i] if i < len(x) else "nothing" for x in (first, others))
                if here != there:
                    raise ValueError(
                        f"ranks must add the same parameters in the same order: number {i + 1} of this group is {here} "
                        f"on rank {team.ranks[0]}, but {there} on rank {rank}"
                    )
            for name in sorted({*first_own, *other_own}):
                if first_own.get(name) != other_own.get(name):
                    raise ValueError(
                        f"ranks must agree on every setting: {name} of the group with {first[0]} is "
                        f"{first_own.get(name)} on rank {team.ranks[0]}, but {other_own.get(name)} on rank {rank}"
                    )
