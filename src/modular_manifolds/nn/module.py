"""Modules that know how much they change: forward function, mass and sensitivity, and how they compose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import fsum, inf
from typing import Any, Self

import torch
from torch import Tensor, nn

from modular_manifolds.geometry import Geometry
from modular_manifolds.nn.sensitivity import Sensitivity, numbers, plus, times
from modular_manifolds.nn.sharpness import BILINEAR, LINEAR, Sharpness
from modular_manifolds.projection import as_matrix, project_

Uses = dict["Leaf", float]
"""The sensitivity of the output to what each leaf puts out, summed over the places where the leaf is used."""


class Module(nn.Module, ABC):
    """An nn.Module with a mass and a sensitivity, made of leaves, which have weights, and bonds, which have none.

    `second @ first` composes, where either may be a tuple of modules that all take the same input; `f + g` and `f - g`
    add what two modules make of the same input; `c * f` scales the output and `f * c` the input; `-f` is -1 * f. All
    of them keep the modules they are given: a module that occurs twice shares its weights, has its mass once, and its
    sensitivities add up. `f ** depth` composes independent copies, with weights drawn anew.
    """

    @abstractmethod
    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        """One step back: `into`, plus the sensitivity of the final output to this module's input.

        The operations are those of a reverse sweep over the graph of the forward pass, in its order.

        Args:
            s: sensitivity of the final output to this module's output.
            into: that to this module's input by ways that have been followed before.
            uses: every leaf below adds to this.
        """

    @property
    def sharpness(self) -> Sharpness:
        """Bounds on the second derivatives; infinite for a subclass that does not say."""
        return Sharpness()

    def pullback(self, s: Sensitivity = 1.0) -> Sensitivity:
        """Sensitivity of a final output to this module's input, where `s` is that to its output.

        A tuple, for a module whose input is one and that is not equally sensitive to its members.
        """
        return self.sweep(s, 0.0, {})

    @property
    def sensitivity(self) -> float:
        """Lipschitz constant in the input: where weights and inputs are as large as they are meant to be, at most."""
        return max(numbers(self.pullback()))

    def leaves(self) -> list[Leaf]:
        """The leaves below, each once."""
        return [module for module in self.modules() if isinstance(module, Leaf)]

    @property
    def mass(self) -> float:
        """The sum of the masses of the leaves: how much of a network's change should come from here, in proportion."""
        return fsum(leaf.mass for leaf in self.leaves())

    def tare(self, mass: float = 1.0) -> Self:
        """Scale the masses of all leaves below so that they total `mass`, and return self.

        Raises:
            ValueError: there is no mass to scale, or the new one is negative or not finite.
        """
        total = self.mass
        if not total:
            raise ValueError(f"this {type(self).__name__} has no mass to scale to {mass}")
        for leaf in self.leaves():
            leaf.mass = leaf.mass / total * mass
        return self

    def reset_parameters(self) -> None:
        """Draw all weights anew, on their manifolds."""
        for leaf in self.leaves():
            leaf.reset_parameters()

    def budgets(self) -> dict[str, float]:
        """The share of the learning rate of every parameter, by its name in `named_parameters()`.

        It is its leaf's part of the total mass over the sensitivity of the output to the leaf's; 0 for a leaf without
        mass, or of which the output shows nothing.

        Raises:
            ValueError: two leaves have one parameter between them (let one leaf occur twice instead), or none has it.
        """
        return {name: budget for name, _, _, budget in self._assigned()}

    def param_groups(self) -> list[dict[str, Any]]:
        """Groups for `ModularOptimizer`: named parameters, their geometry, and their budget.

        Leaves whose geometries agree, and whose budgets agree to nine digits, are in one group, to be stepped together.

        Raises:
            ValueError: as for `budgets`.
        """
        groups: dict[Any, dict[str, Any]] = {}
        for name, p, leaf, budget in self._assigned():
            group = {"params": [], "geometry": leaf.geometry, "budget": budget}
            groups.setdefault((leaf.geometry, f"{budget:.8e}"), group)["params"].append((name, p))
        return list(groups.values())

    def project_(self) -> Self:
        """Put every weight on its manifold, in place, and return self."""
        project_(self.param_groups())
        return self

    def modular_norm(self, update: Mapping[str, Tensor]) -> Tensor:
        """Length of an update to all weights, by the names of `named_parameters()`: max_k norm_k(update_k) / budget_k.

        The output moves by no more, to first order. Infinite if an update to a leaf with no budget is not zero.
        """
        lengths = []
        for name, _, leaf, budget in self._assigned():
            length = leaf.geometry.norm(as_matrix(update[name], leaf.geometry.kernel_axes)).max()
            lengths.append(length / budget if budget else torch.where(length == 0, length, inf))
        return torch.stack(lengths).max() if lengths else torch.zeros(())

    def _assigned(self) -> list[tuple[str, nn.Parameter, Leaf, float]]:
        uses: Uses = {}
        self.sweep(1.0, 0.0, uses)
        total = self.mass
        owners: dict[nn.Parameter, Leaf] = {}
        for leaf in self.leaves():
            for name, p in leaf.named_parameters(recurse=False):
                if owners.setdefault(p, leaf) is not leaf:
                    raise ValueError(
                        f"{name} of shape {tuple(p.shape)} belongs to two leaves, {owners[p]} and {leaf}; to share a "
                        "weight, use one leaf twice"
                    )
        work = []
        for name, p in self.named_parameters():
            if p not in owners:
                raise ValueError(f"{name} of shape {tuple(p.shape)} belongs to no leaf; make its module a Leaf")
            leaf = owners[p]
            s = uses.get(leaf, 0.0)
            work.append((name, p, leaf, leaf.mass / total / s if leaf.mass and s else 0.0))
        return work

    # the algebra, imported when used: compositions are modules, and modules compose

    def __matmul__(self, first: object) -> Module:
        from modular_manifolds.nn import composition

        return composition.chain(first, self) if composition.is_module(first) else NotImplemented

    def __rmatmul__(self, second: object) -> Module:
        from modular_manifolds.nn import composition

        return composition.chain(self, second) if composition.is_module(second) else NotImplemented

    def __add__(self, other: object) -> Module:
        from modular_manifolds.nn import composition

        return composition.Add() @ (self, other) if isinstance(other, Module) else NotImplemented

    def __sub__(self, other: object) -> Module:
        return self + -other if isinstance(other, Module) else NotImplemented

    def __neg__(self) -> Module:
        return -1.0 * self

    def __rmul__(self, c: object) -> Module:
        from modular_manifolds.nn import composition

        return composition.Mul(c) @ self if isinstance(c, int | float) else NotImplemented

    def __mul__(self, c: object) -> Module:
        from modular_manifolds.nn import composition

        return self @ composition.Mul(c) if isinstance(c, int | float) else NotImplemented

    def __pow__(self, depth: int) -> Module:
        from modular_manifolds.nn import composition

        return composition.repeated(self, depth) if isinstance(depth, int) else NotImplemented


class Leaf(Module):
    """A module with a weight. Subclasses set `geometry` and `mass`, and have one parameter, `weight`.

    Well-normed: where its input is at most 1, its output moves by no more than norm(update), and is at most as
    sensitive to the input as `stretch` says while the weight is on the manifold.
    """

    geometry: Geometry
    weight: Tensor
    stretch: float = 1.0
    _mass: float

    @property
    def mass(self) -> float:
        """Its share of the change, in proportion; 0 freezes the weight."""
        return self._mass

    @mass.setter
    def mass(self, mass: float) -> None:
        if not 0 <= mass < inf:
            raise ValueError(f"a mass must be finite and not negative, got {mass}")
        self._mass = float(mass)

    @property
    def sharpness(self) -> Sharpness:
        return BILINEAR

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        if isinstance(s, tuple):
            raise TypeError(f"{self} makes one tensor, but what takes it expects a tuple of {len(s)}")
        uses[self] = uses.get(self, 0.0) + s
        return plus(into, s * self.stretch)

    def reset_parameters(self) -> None:
        """Draw the weight anew, on its manifold."""
        if self.weight.is_meta:
            return
        with torch.no_grad():
            w = as_matrix(self.weight, self.geometry.kernel_axes)
            w.copy_(self.geometry.manifold.random(w.shape, dtype=w.dtype, device=w.device))

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (super().extra_repr(), f"mass={self.mass:g}")))


class Bond(Module):
    """A module without weights. Subclasses set `stretch`, their Lipschitz constant."""

    stretch: float = 1.0
    curvature: Sharpness = LINEAR

    @property
    def sharpness(self) -> Sharpness:
        return self.curvature

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        return plus(into, times(s, self.stretch))
