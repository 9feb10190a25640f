"""Modules made of modules: one after another, and side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from math import fsum, isfinite
from typing import Any, cast

from torch import Tensor

from modular_manifolds.nn.module import Bond, Module, Uses
from modular_manifolds.nn.sensitivity import Sensitivity, members, numbers
from modular_manifolds.nn.sharpness import LINEAR, Sharpness, composed, parallel


class Identity(Bond):
    """What goes in."""

    def forward(self, x: Any) -> Any:
        return x


class Mul(Bond):
    """c times the input, every member of it if that is a tuple; sensitivity |c|.

    Raises:
        ValueError: c is not finite.
    """

    def __init__(self, c: float) -> None:
        super().__init__()
        if not isfinite(c):
            raise ValueError(f"a factor must be finite, got {c}")
        self.c = c
        self.stretch = abs(c)

    def forward(self, x: Any) -> Any:
        return tuple(map(self.forward, x)) if isinstance(x, tuple) else self.c * x

    def extra_repr(self) -> str:
        return f"{self.c:g}"


class Add(Bond):
    """The sum of a tuple; sensitivity 1, as a tuple's length is the sum of its members'."""

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        total, *others = x
        for other in others:
            total = total + other
        return total


class _Several(Module):
    """Modules in a fixed order, each under its name."""

    def __init__(self, *modules: Module | tuple[Any, ...] | Mapping[str, Module | tuple[Any, ...]]) -> None:
        super().__init__()
        named: Any = {str(i): module for i, module in enumerate(modules)}
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0]
        if not named:
            raise ValueError(f"{type(self).__name__} needs at least one module")
        for name, module in named.items():
            if not is_module(module):
                raise TypeError(f"{name} must be a Module of modular_manifolds.nn, or a tuple of them, got {module!r}")
            self.add_module(name, Tuple(*module) if isinstance(module, tuple) else module)

    def steps(self) -> Iterator[Module]:
        """All of them, one that occurs twice twice."""
        return iter(cast("dict[str, Module]", self._modules).values())


class Compose(_Several):
    """One module after another, in the order in which they are run, as in nn.Sequential; or a dict that names them."""

    def forward(self, x: Any) -> Any:
        for module in self.steps():
            x = module(x)
        return x

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        first, *others = self.steps()
        for module in reversed(others):
            s = module.sweep(s, 0.0, uses)
        return first.sweep(s, into, uses)

    @property
    def sharpness(self) -> Sharpness:
        """By `composed`, from the first to the last."""
        done: list[Module] = []
        result = LINEAR
        for module in self.steps():
            below = _mass_of(done)
            total = _mass_of([*done, module])
            shares = (below / total, module.mass / total) if total else (0.0, 0.0)
            s: Sensitivity = 1.0
            for earlier in reversed(done):
                s = earlier.pullback(s)
            local = numbers(module.pullback())
            result = composed(module.sharpness, result, shares, (max(numbers(s)), max(local)), min(local))
            done.append(module)
        return result


class Tuple(_Several):
    """Modules that all take the same input, and whose outputs make a tuple; masses and sensitivities add."""

    def forward(self, x: Any) -> tuple[Any, ...]:
        return tuple([module(x) for module in self.steps()])

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        modules = list(self.steps())
        for module, part in reversed(list(zip(modules, members(s, len(modules)), strict=True))):
            into = module.sweep(part, into, uses)
        return into

    @property
    def sharpness(self) -> Sharpness:
        """By `parallel`."""
        total = self.mass
        return parallel((module.mass / total if total else 0.0, module.sharpness) for module in self.steps())


def _mass_of(modules: list[Module]) -> float:
    return fsum({leaf: leaf.mass for module in modules for leaf in module.leaves()}.values())


def is_module(thing: object) -> bool:
    """Whether it is a Module, or a tuple of them."""
    return isinstance(thing, Module) or (isinstance(thing, tuple) and all(map(is_module, thing)))


def chain(*modules: Any) -> Compose:
    """One after another, with compositions taken apart into their steps."""
    return Compose(*(step for module in modules for step in _steps(module)))


def repeated(module: Module, depth: int) -> Module:
    """`depth` independent copies one after another, with weights drawn anew; Identity for none.

    Raises:
        ValueError: the depth is negative.
    """
    if depth < 0:
        raise ValueError(f"a module can be composed with itself 0 times or more, not {depth}")
    copies = [deepcopy(module) for _ in range(depth)]
    for copy in copies:
        copy.reset_parameters()
    return chain(*copies) if copies else Identity()


def _steps(module: Any) -> list[Any]:
    """What a composition is made of. Named steps, and classes of their own, stay together."""
    if type(module) is Compose and all(name.isdecimal() for name in module._modules):
        return list(module.steps())
    return [module]
