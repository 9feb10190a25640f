"""How large weights are: as large as their manifolds allow, or as they are now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot, inf, prod, sqrt
from typing import Protocol

import torch
from torch import Tensor

from modular_manifolds.distributed import gathered
from modular_manifolds.geometry import Geometry
from modular_manifolds.linalg import row_norm_bound, spectral_norm_bound
from modular_manifolds.manifolds import Manifold, Product
from modular_manifolds.modular.graph import Node
from modular_manifolds.modular.rule import ROUNDING, Use
from modular_manifolds.norms import Blockwise, MaxEntry, Norm
from modular_manifolds.projection import as_matrix


class Sized(Protocol):
    """A manifold, or a norm's unit ball."""

    def spectral_bound(self, m: int, n: int) -> float: ...

    def row_bound(self, m: int, n: int) -> float: ...


def matrix_shape(shape: tuple[int, ...], use: Use) -> tuple[int, int]:
    """Rows and columns of a parameter as its geometry sees it; a vector is one row."""
    if use.kind == "convolution":
        return shape[0], shape[1]
    return (1, prod(shape)) if len(shape) < 2 else (shape[-2], shape[-1])


def largest_gain(sized: Sized, shape: tuple[int, ...], use: Use) -> float:
    """From the root mean square of the inputs to that of the outputs, over every matrix of the set and block of it."""
    m, n = matrix_shape(shape, use)
    out, into = (n, m) if use.transposed else (m, n)
    blocks = use.groups if use.kind == "convolution" else use.blocks
    size = out // blocks
    whole = sized.spectral_bound(m, n)
    if isinstance(sized, Product | Blockwise) and sized.blocks.axis == ("columns" if use.transposed else "rows"):
        bounds, sizes = sized.block_bounds(m, n), sized.blocks.sizes((m, n))
        if len(bounds) % blocks == 0 and len(set(sizes)) == 1:
            run = len(bounds) // blocks
            whole = min(whole, max(hypot(*bounds[i : i + run]) for i in range(0, len(bounds), run)))
        elif blocks % len(bounds) == 0 and len(set(sizes)) == 1:
            whole = min(whole, max(bounds))
        if blocks == 1:
            # what is joined is in root mean square no longer than its longest block
            per_block = max(sqrt(into / s) * bound for s, bound in zip(sizes, bounds, strict=True))
            return _exactly_one(min(sqrt(into / size) * whole, per_block))
    return _exactly_one(prod(use.kernel) * sqrt(into / size) * whole)


def _exactly_one(gain: float) -> float:
    """sqrt(in / out) sqrt(out / in) is 1, whatever rounding makes of it."""
    return 1.0 if abs(gain - 1) < ROUNDING else gain


def longest_row(sized: Sized, shape: tuple[int, ...]) -> float:
    """Root mean square of the longest row, over every matrix of the set."""
    m, n = shape[-2:] if len(shape) > 1 else (1, prod(shape))
    return _exactly_one(sized.row_bound(m, n) / sqrt(n))


def largest_change(norm: Norm, shape: tuple[int, ...], use: Use) -> float:
    """How much an update of length 1 can change what the parameter makes of inputs of root mean square 1."""
    if use.kind in ("matrix", "convolution"):
        return largest_gain(norm, shape, use)
    if use.kind == "gain":
        n = prod(shape)
        return 1.0 if isinstance(norm, MaxEntry) else norm.row_bound(1, n)
    if use.kind == "declared":
        return 1.0
    return longest_row(norm, shape) * use.factor


@dataclass
class Measured:
    """Weights as they are now, by guaranteed upper bounds in float64."""

    measured: bool = True
    _known: dict[tuple[Node, Use], float] = field(default_factory=dict)

    def gain(self, parameter: Node, use: Use) -> tuple[float, bool]:
        key = (parameter, use)
        if key not in self._known:
            self._known[key] = _gain(_value(parameter), use)
        return self._known[key], True

    def unfolded(self, parameter: Node, use: Use) -> float:
        """Gain of a convolution's kernel as one matrix, from all that it reads to all of its outputs."""
        w = _value(parameter)
        each = w.reshape(use.groups, w.shape[0] // use.groups, -1)
        return sqrt(w.shape[1] * use.groups / w.shape[0]) * _top(each)

    def row(self, parameter: Node) -> tuple[float, bool]:
        w = _value(parameter)
        return float(row_norm_bound(w.reshape(-1, w.shape[-1]))) / sqrt(w.shape[-1]) if w.numel() else 0.0, True

    def size(self, parameter: Node, blocks: int) -> tuple[float, bool]:
        w = _value(parameter).flatten()
        if not w.numel():
            return 0.0, True
        cut = w.reshape(blocks, -1) if w.numel() % blocks == 0 else w.reshape(-1, 1)
        return float(row_norm_bound(cut)) / sqrt(cut.shape[-1]), True

    def entry(self, parameter: Node) -> tuple[float, bool]:
        w = _value(parameter)
        return float(w.abs().max()) if w.numel() else 0.0, True


def _value(parameter: Node) -> Tensor:
    assert parameter.fixed is not None
    return gathered(parameter.fixed.detach())


def _top(matrices: Tensor) -> float:
    return float(spectral_norm_bound(matrices).max()) if matrices.numel() else 0.0


def _gain(w: Tensor, use: Use) -> float:
    if use.kind == "convolution":
        out, into = w.shape[0], w.shape[1] * use.groups
        taps = as_matrix(w, len(use.kernel)).flatten(0, -3)
        each = taps.reshape(len(taps), use.groups, out // use.groups, -1)
        norms = spectral_norm_bound(each.transpose(0, 1)) if w.numel() else torch.zeros(1, 1)
        return sqrt(into / out) * float(norms.sum(-1).max())
    if use.transposed:
        w = w.mT
    size = w.shape[0] // use.blocks
    return sqrt(w.shape[1] / size) * _top(w.reshape(use.blocks, size, w.shape[1]))


@dataclass
class Planned:
    """Weights anywhere on their manifolds; where a manifold is unbounded, as they are now, which proves nothing."""

    geometries: Mapping[str, Geometry]
    measured: bool = False
    _now: Measured = field(default_factory=Measured)

    def gain(self, parameter: Node, use: Use) -> tuple[float, bool]:
        manifold = self._manifold(parameter)
        bound = inf if manifold is None else largest_gain(manifold, parameter.shape, use)
        return self._or_now(bound, parameter, self._now.gain(parameter, use) if bound == inf else None)

    def row(self, parameter: Node) -> tuple[float, bool]:
        manifold = self._manifold(parameter)
        bound = inf if manifold is None else longest_row(manifold, parameter.shape)
        return self._or_now(bound, parameter, self._now.row(parameter) if bound == inf else None)

    def size(self, parameter: Node, blocks: int) -> tuple[float, bool]:
        manifold = self._manifold(parameter)
        bound = inf if manifold is None else longest_row(manifold, parameter.shape) * sqrt(blocks)
        return self._or_now(bound, parameter, self._now.size(parameter, blocks) if bound == inf else None)

    def entry(self, parameter: Node) -> tuple[float, bool]:
        manifold = self._manifold(parameter)
        bound = inf if manifold is None else manifold.row_bound(1, prod(parameter.shape))
        return self._or_now(bound, parameter, self._now.entry(parameter) if bound == inf else None)

    def _manifold(self, parameter: Node) -> Manifold | None:
        geometry = self.geometries.get(parameter.name)
        return None if geometry is None else geometry.manifold

    def _or_now(self, bound: float, parameter: Node, now: tuple[float, bool] | None) -> tuple[float, bool]:
        if now is None:
            return bound, True
        return now[0], parameter.op == "constant"
