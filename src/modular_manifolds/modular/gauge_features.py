"""Features of a network that must be transformed alike, gathered while its graph is read."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntFlag, auto

import torch
from jaxtyping import Int
from torch import Tensor

Axis = tuple[str, int]
"""An axis of a parameter, by its name."""


class Mark(IntFlag):
    """What a feature may not do."""

    FIXED = auto()
    """Nothing: it is an input's, an output's, or a constant's."""
    UNKNOWN = auto()
    """Nothing that is known."""
    POINTWISE = auto()
    """Mix with others."""
    NO_SIGN = auto()
    NO_SCALE = auto()


RIGID = Mark.POINTWISE | Mark.NO_SIGN | Mark.NO_SCALE
"""Only permutations are left."""


@dataclass(frozen=True)
class Member:
    """A feature along an axis of a parameter, and whether it is transformed by the inverse transpose."""

    axis: Axis
    index: int
    dual: bool


@dataclass(frozen=True)
class Frame:
    """Units that are alike: they stand in the same places, and may be exchanged or mixed.

    Args:
        units: for every unit the members of each of its roles.
        marks: for every role.
    """

    units: tuple[tuple[tuple[Member, ...], ...], ...]
    marks: tuple[Mark, ...]


@dataclass
class Features:
    """Every feature is a number from 1, and 0 what is not moved; a tensor of numbers stands for an activation."""

    axes: dict[Axis, Int[Tensor, " n"]] = field(default_factory=dict)
    _owner: list[tuple[Axis, int]] = field(default_factory=lambda: [(("", 0), 0)])
    _parent: list[int] = field(default_factory=lambda: [0])
    _dual: list[bool] = field(default_factory=lambda: [False])
    """Whether a feature is transformed by the inverse transpose of what its parent is."""
    _marks: list[Mark] = field(default_factory=lambda: [Mark.FIXED])
    _tied: list[tuple[int, int]] = field(default_factory=list)
    _labels: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    _rows: int = 0

    def along(self, parameter: str, axis: int, size: int) -> Int[Tensor, " n"]:
        """The features along an axis of a parameter, new ones where it has not been asked for before."""
        key = (parameter, axis)
        if key not in self.axes:
            first = len(self._parent)
            self.axes[key] = torch.arange(first, first + size)
            self._owner += [(key, i) for i in range(size)]
            self._parent += range(first, first + size)
            self._dual += [False] * size
            self._marks += [Mark(0)] * size
        return self.axes[key]

    def mark(self, features: Tensor, mark: Mark) -> None:
        """Forbid them something."""
        for feature in _numbers(features):
            if feature:
                self._marks[self._find(feature)[0]] |= mark

    def marks(self, features: Tensor) -> Mark:
        """What none of them may do, so far."""
        result = ~Mark(0)
        for feature in _numbers(features):
            if feature:
                result &= self._marks[self._find(feature)[0]]
        return result

    def merge(self, a: Tensor, b: Tensor, *, dual: bool = False) -> None:
        """What stands in the same place is transformed alike, or, if `dual`, by inverse transposes."""
        for x, y in _pairs(a, b):
            if not x or not y:
                self.mark(torch.tensor([x or y]), Mark.FIXED)
                continue
            (r, p), (s, q) = self._find(x), self._find(y)
            turned = p ^ q ^ dual
            if r == s:
                self._marks[r] |= Mark.NO_SCALE if turned else Mark(0)
                continue
            self._parent[s], self._dual[s] = r, turned
            self._marks[r] |= self._marks[s]

    def tie(self, a: Tensor, b: Tensor) -> None:
        """What stands in the same place changes places together; signs and scalings are each one's own."""
        for x, y in _pairs(a, b):
            if x and y:
                self._tied.append((x, y))
        self.mark(a, Mark.POINTWISE)
        self.mark(b, Mark.POINTWISE)
        self.mark(a[b == 0], Mark.FIXED)
        self.mark(b[a == 0], Mark.FIXED)

    def separate(self, features: Tensor, labels: Tensor) -> None:
        """Features of different labels do not change places, nor mix; one with several labels stays where it is."""
        self._rows += 1
        seen: dict[int, int] = {}
        for feature, label in _pairs(features, labels):
            if seen.setdefault(feature, label) != label:
                self.mark(torch.tensor([feature]), Mark.UNKNOWN)
            elif feature:
                self._labels[feature].append((self._rows, label))

    def _find(self, x: int) -> tuple[int, bool]:
        """The root, and whether x is transformed by the inverse transpose of what the root is."""
        path, dual = [], False
        while self._parent[x] != x:
            path.append(x)
            x = self._parent[x]
        for y in reversed(path):
            dual ^= self._dual[y]
            self._parent[y], self._dual[y] = x, dual
        return x, dual

    def frames(self) -> Iterator[Frame]:
        """All features, in the order in which they were met; those that are fixed or unknown, too."""
        place = list(range(len(self._parent)))

        def top(x: int) -> int:
            while place[x] != x:
                place[x] = place[place[x]]
                x = place[x]
            return x

        for x, y in [*((x, self._find(x)[0]) for x in range(1, len(place))), *self._tied]:
            a, b = top(x), top(y)
            place[max(a, b)] = min(a, b)
        units: dict[int, list[int]] = defaultdict(list)
        for x in range(1, len(place)):
            units[top(x)].append(x)
        frames: dict[object, list[tuple[tuple[Member, ...], ...]]] = defaultdict(list)
        marks: dict[object, tuple[Mark, ...]] = {}
        for unit in units.values():
            signature, roles, forbidden = self._unit(unit)
            frames[signature].append(roles)
            marks[signature] = forbidden
        for signature, alike in frames.items():
            yield Frame(tuple(alike), marks[signature])

    def _unit(self, unit: list[int]) -> tuple[object, tuple[tuple[Member, ...], ...], tuple[Mark, ...]]:
        roles: dict[int, list[Member]] = defaultdict(list)
        for x in unit:
            root, dual = self._find(x)
            roles[root].append(Member(*self._owner[x], dual))
        shared = Mark(0)
        for root in roles:
            shared |= self._marks[root] & (Mark.FIXED | Mark.UNKNOWN)
        entries = []
        for root, members in roles.items():
            first = members[0].dual
            members = [Member(m.axis, m.index, m.dual ^ first) for m in members]
            key = tuple((m.axis, m.dual) for m in members)
            entries.append((key, tuple(members), self._marks[root] | shared))
        entries.sort(key=lambda entry: entry[0])
        labels = sorted({label for x in unit for label in self._labels.get(x, ())})
        forbidden = tuple(mark for _, _, mark in entries)
        signature = (tuple(key for key, _, _ in entries), forbidden, tuple(labels))
        return signature, tuple(members for _, members, _ in entries), forbidden


def _numbers(features: Tensor) -> list[int]:
    found: list[int] = features.unique().tolist()  # type: ignore[no-untyped-call]
    return found


def _pairs(a: Tensor, b: Tensor) -> list[tuple[int, int]]:
    """What stands in the same place, each pair once, after broadcasting."""
    base = int(b.max()) + 1 if b.numel() else 1
    codes: Tensor = (a * base + b).flatten().unique()  # type: ignore[no-untyped-call]
    return [(code // base, code % base) for code in codes.tolist()]
