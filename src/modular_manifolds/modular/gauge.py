"""Gauge groups: what can be done to the parameters of a network without changing its function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Indices = range | tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Transformations of `units` features, together; each is made of one permutation, signs, scalings or rotations.

    Args:
        units: features that are alike.
        linear: "O" for all orthogonal matrices, "GL" for all invertible ones, "" for those with one entry a row.
        permutations: whether features may change places.
        signs: how often each feature may choose a sign: 1, or more where several go by the same permutation.
        scalings: the same, of positive factors.
    """

    units: int
    linear: str = ""
    permutations: bool = False
    signs: int = 0
    scalings: int = 0

    @property
    def dimension(self) -> int:
        """Of the continuous part."""
        d = self.units
        return {"O": d * (d - 1) // 2, "GL": d * d, "": d * self.scalings}[self.linear]

    @property
    def trivial(self) -> bool:
        """Whether the identity is all there is."""
        moves = self.permutations and self.units > 1
        return not (self.linear or moves or self.signs or self.scalings) or not self.units

    def __str__(self) -> str:
        """O(64), (Z2)^64 x S_64, R+^64 x S_64, ...; the first factors are permuted by the last. "1" if trivial."""
        d = self.units
        if self.linear:
            return f"{self.linear}({d})"
        parts = [f"(Z2)^{d * self.signs}"] * bool(self.signs) + [f"R+^{d * self.scalings}"] * bool(self.scalings)
        parts += [f"S_{d}"] * (self.permutations and d > 1)
        return " x ".join(parts) if d and parts else "1"


@dataclass(frozen=True)
class Side:
    """Where a gauge acts: features `indices` along `axis` of a parameter.

    Args:
        parameter: its name.
        axis: from 0; of (out, in) weights, 0 is what the features are made by and 1 what reads them.
        indices: the features, in an order that all sides of a gauge share.
        dual: whether they are multiplied by the inverse transpose: readers undo what makers do.
        role: features of different roles are permuted alike, and have signs and scalings of their own.
    """

    parameter: str
    axis: int
    indices: Indices
    dual: bool = False
    role: int = 0


@dataclass(frozen=True)
class Gauge:
    """One group of transformations that leave the function of a network as it is.

    Args:
        function: all of them (of the kinds looked for, see `Plan.gauges`).
        kept: those that also map every manifold onto itself and leave the length of every update as it is.
        sides: the parameters that they act on.
        signs: the roles whose signs are free: of the function, and of what is kept.
        scalings: the same, of positive factors.
    """

    function: Group
    kept: Group
    sides: tuple[Side, ...]
    signs: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    scalings: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @torch.no_grad()
    def act_(
        self,
        target: nn.Module | Mapping[str, Tensor],
        generator: torch.Generator | None = None,
        *,
        function: bool = False,
    ) -> None:
        """Apply a random element to the parameters, in place.

        Args:
            target: the model that was planned, or tensors by the names of its parameters (such as momenta).
            generator: of random numbers, on the CPU; equal states draw equal elements, whatever the target is.
            function: draw from `function` rather than from `kept`: weights may leave their manifolds then. Scalings,
                and those of an invertible matrix, are between 1/e and e.

        Raises:
            KeyError: the target lacks one of the parameters.
        """
        tensors = dict(target.named_parameters()) if isinstance(target, nn.Module) else target
        maps = self._draw(generator, function)
        for side in self.sides:
            tensor = tensors[side.parameter]
            map_, dual = maps[side.role]
            along = tensor.movedim(side.axis, 0)
            where = torch.tensor(list(side.indices), device=tensor.device)
            old = along[where]
            matrix = (dual if side.dual else map_).to(tensor.device)
            along[where] = (matrix @ old.reshape(len(where), -1).to(matrix.dtype)).to(tensor.dtype).view_as(old)

    def _draw(self, generator: torch.Generator | None, function: bool) -> dict[int, tuple[Tensor, Tensor]]:
        """For every role a matrix and its inverse transpose, in float64."""
        group = self.function if function else self.kept
        roles = sorted({side.role for side in self.sides})
        n = group.units
        if group.linear:
            q = _rotation(n, generator)
            if group.linear == "O":
                return dict.fromkeys(roles, (q, q))
            other, scales = _rotation(n, generator), _scales(n, generator)
            return dict.fromkeys(roles, (q * scales @ other, q / scales @ other))
        order = torch.randperm(n, generator=generator) if group.permutations else torch.arange(n)
        place = torch.eye(n, dtype=torch.float64)[order]
        which = 0 if function else 1
        maps = {}
        for role in roles:
            signs, scales = torch.ones(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
            if role in self.signs[which]:
                signs = 2.0 * torch.randint(2, (n,), generator=generator).double() - 1
            if role in self.scalings[which]:
                scales = _scales(n, generator)
            maps[role] = (place * (signs * scales)[:, None], place * (signs / scales)[:, None])
        return maps

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which `from_dict` rebuilds it."""
        return {
            "function": vars(self.function),
            "kept": vars(self.kept),
            "sides": [{**vars(side), "indices": _plain(side.indices)} for side in self.sides],
            "signs": [list(roles) for roles in self.signs],
            "scalings": [list(roles) for roles in self.scalings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Gauge":
        """The gauge that `to_dict` described."""
        sides = (Side(**{**side, "indices": indices_of(_listed(side["indices"]))}) for side in data["sides"])
        (s, t), (u, v) = ([tuple(roles) for roles in data[key]] for key in ("signs", "scalings"))
        return cls(Group(**data["function"]), Group(**data["kept"]), tuple(sides), (s, t), (u, v))


def indices_of(numbers: Sequence[int]) -> Indices:
    """A range where they are one."""
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    whole = range(numbers[0], numbers[0] + step * len(numbers), step) if numbers and step > 0 else range(0)
    return whole if list(whole) == list(numbers) else tuple(numbers)


def described(parameter: str, axes: int, gauges: Sequence[Gauge], unknown: Sequence[int]) -> str:
    """What of the gauges acts on a parameter and is kept, by its axis; "-" for nothing, "unknown" for what could not be
    read.
    """
    texts = []
    for axis in range(axes):
        found: dict[str, int] = {}
        for gauge in gauges:
            if any(side.parameter == parameter and side.axis == axis for side in gauge.sides):
                found[str(gauge.kept)] = found.get(str(gauge.kept), 0) + 1
        found.pop("1", None)
        kinds = [text if count == 1 else f"{count} {text}" for text, count in found.items()]
        if axis in unknown:
            kinds.append("unknown")
        if kinds:
            text = " and ".join(kinds)
            texts.append(text if axes == 1 else f"{('rows', 'columns')[axis] if axis < 2 else axis}: {text}")
    return ", ".join(texts) or "-"


def _plain(indices: Indices) -> list[int] | dict[str, int]:
    if isinstance(indices, range):
        return {"start": indices.start, "stop": indices.stop, "step": indices.step}
    return list(indices)


def _listed(data: list[int] | Mapping[str, int]) -> list[int]:
    return list(range(data["start"], data["stop"], data["step"])) if isinstance(data, Mapping) else list(data)


def _rotation(n: int, generator: torch.Generator | None) -> Float[Tensor, "n n"]:
    """Uniform over the orthogonal matrices (Mezzadri, Notices of the AMS 54, 2007: the signs of R matter)."""
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sgn()


def _scales(n: int, generator: torch.Generator | None) -> Float[Tensor, " n"]:
    return (2 * torch.rand(n, dtype=torch.float64, generator=generator) - 1).exp().clamp(exp(-1), exp(1))
