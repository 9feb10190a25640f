"""Attacks on bounds: how far modules really stretch inputs and updates, by ascent, in float64."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from modular_manifolds import Plan
from modular_manifolds.modular import LipschitzCertificate, certificate, certify
from modular_manifolds.modular.reading import read
from modular_manifolds.modular.rule import times
from modular_manifolds.modular.space import Space, conversion
from modular_manifolds.modular.sweep import Setting, Sweep, natural, sweep, whole
from modular_manifolds.modular.weights import Measured
from modular_manifolds.projection import as_matrix

ROUNDING = 1 + 1e-9
Function = Callable[..., Tensor]


class Do(nn.Module):
    """A function as a module, with parameters that it takes after its inputs."""

    def __init__(self, function: Function, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList([nn.Parameter(draw(*shape, seed=i)) for i, shape in enumerate(shapes)])

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs, *self.weights)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def length(x: Tensor, space: Space) -> Tensor:
    """How long x is, by the definition: root mean squares, then sums of these, then the largest."""
    sizes = [n for n, _ in space.axes]
    parts = x.detach().reshape(sizes) if not x.requires_grad else x.reshape(sizes)
    for role, reduce in (("rms", _rms), ("sum", _sum), ("max", _max)):
        dims = [i for i, (_, kind) in enumerate(space.axes) if kind == role]
        if dims:
            parts = reduce(parts, dims)
    return parts.abs().squeeze()


def _rms(x: Tensor, dims: list[int]) -> Tensor:
    return torch.linalg.vector_norm(x, dim=dims, keepdim=True) / prod(x.shape[d] for d in dims) ** 0.5


def _sum(x: Tensor, dims: list[int]) -> Tensor:
    return x.abs().sum(dims, keepdim=True)


def _max(x: Tensor, dims: list[int]) -> Tensor:
    return x.abs().amax(dims, keepdim=True)


def shown(shape: tuple[int, ...], *, output: bool) -> Space:
    """The norm that `lipschitz_rms` measures in: by the last axis, or by samples; see `LipschitzCertificate`."""
    by_token = len(shape) in (2, 3) if output else len(shape) == 3
    return Space.of(shape, "max").with_role(-1, "rms") if by_token else Space.samples(shape)


def steepest(g: Tensor, space: Space) -> Tensor:
    """Of all u no longer than 1 in a norm without sums, that with the largest inner product with g."""
    parts = g.reshape([n for n, _ in space.axes])
    dims = [i for i, (_, kind) in enumerate(space.axes) if kind == "rms"]
    if not dims:
        return g.sign()
    return (parts / _rms(parts, dims).clamp_min(1e-300)).reshape(g.shape)


def inside(x: Tensor, space: Space, size: float) -> Tensor:
    """x, with whatever is longer than `size` brought back to it."""
    parts = x.reshape([n for n, _ in space.axes])
    dims = [i for i, (_, kind) in enumerate(space.axes) if kind == "rms"]
    over = (_rms(parts, dims) if dims else parts.abs()) / size if size else torch.full_like(parts, inf)
    return (parts / over.clamp_min(1)).reshape(x.shape)


def starts(shape: tuple[int, ...], size: float, count: int = 12) -> Iterator[Tensor]:
    """Points of a domain of the given size: random, near zero, sparse, of one sign, alike, and far apart."""
    space = shown(shape, output=False)
    scale = size if size < inf else 3.0
    for seed in range(count):
        x = draw(*shape, seed=100 + seed)
        kind = seed % 6
        if kind == 1:
            x = 1e-4 * x
        elif kind == 2:
            x = x * (draw(*shape, seed=seed) > 0.8)
        elif kind == 3:
            x = x.sign()
        elif kind == 4:
            x = x[:1].expand(shape) * draw(*(1,) * len(shape), seed=seed)
        elif kind == 5 and len(shape) > 1:
            x = x.reshape(shape[0], -1)[:, :1].reshape(shape[0], *[1] * (len(shape) - 1)).expand(shape)
        x = scale * steepest(x, space) if kind in (0, 3, 4, 5) else scale * x
        yield inside(x, space, scale)


def formula() -> Any:
    """Attention as a formula, of which torch knows all derivatives."""
    return sdpa_kernel(SDPBackend.MATH)


def _gap(change: Tensor, space: Space, *, root: bool) -> Tensor:
    """In RMS by `space`; or, if `root`, the l2 length of the sample that moved most."""
    if not root:
        return length(change, space)
    return change.reshape(len(change), -1).norm(dim=1).amax() if change.ndim else change.abs()


@dataclass
class Stretch:
    """The largest factors found."""

    l2: float = 0.0
    rms: float = 0.0

    def see(self, root: bool, value: float) -> None:
        if root and value < inf:
            self.l2 = max(self.l2, value)
        elif value < inf:
            self.rms = max(self.rms, value)


def stretch(
    function: Function, shape: tuple[int, ...], size: float = inf, *, steps: int = 12, count: int = 12
) -> Stretch:
    """How much a function of one tensor can stretch changes: directions by power iteration, points and pairs by ascent.

    Args:
        function: of a tensor of the shape, to one tensor.
        shape: samples first.
        size: of the domain, as `certify` states it.
        steps: of each ascent.
        count: of starts.
    """
    found = Stretch()
    into = shown(shape, output=False)
    points = list(starts(shape, size, count))
    with formula():
        for index, x in enumerate(points):
            for root in (True, False):
                x = _climb(function, x.clone(), into, size, root, steps, index, found)
            _apart(function, x, points[(index + 1) % len(points)], into, found)
    return found


def _climb(
    function: Function, x: Tensor, into: Space, size: float, root: bool, steps: int, seed: int, found: Stretch
) -> Tensor:
    space = Space.samples(x.shape) if root else into
    u = steepest(draw(*x.shape, seed=seed), space)
    if seed % 3 == 1:
        u = torch.zeros_like(u).flatten().index_fill(0, torch.tensor([seed % u.numel()]), 1.0).reshape(u.shape)
    rate = 0.3
    for step in range(steps):
        x = x.detach().requires_grad_(step % 3 == 2)
        y, moved = jvp(function, (x,), (u,))
        out = shown(y.shape, output=True)
        gap = _gap(moved, out, root=root)
        whole_change = _gap(u, into, root=root)
        if not moved.isfinite().all():
            break
        found.see(root, float(gap.detach() / whole_change))
        if x.requires_grad and gap.requires_grad:
            g = _uphill(gap, x)
            if g is not None and g.isfinite().all():
                x = inside(x.detach() + rate * steepest(g, into) * min(size, 1.0), into, size)
            continue
        pull = vjp(function, x.detach())[1]
        g = pull(_dual(moved.detach(), out, root=root))[0]
        if not g.isfinite().all() or not g.any():
            break
        u = steepest(g.detach(), space)
    return x.detach()


def _uphill(gap: Tensor, x: Tensor) -> Tensor | None:
    try:
        return torch.autograd.grad(gap, x, allow_unused=True)[0]
    except RuntimeError:  # a second derivative that torch does not know
        return None


def _dual(moved: Tensor, out: Space, *, root: bool) -> Tensor:
    """A gradient of the norm."""
    leaf = moved.clone().requires_grad_()
    _gap(leaf, out, root=root).backward()
    return torch.nan_to_num(leaf.grad)


def _apart(function: Function, x: Tensor, other: Tensor, into: Space, found: Stretch) -> None:
    """Finite differences, of points far apart and of points along the way."""
    for share in (1.0, 0.3, 1e-3):
        near = x + share * (other - x)
        if not (near - x).any():
            continue
        with torch.no_grad():
            moved = function(near) - function(x)
        if not moved.isfinite().all():
            continue
        out = shown(moved.shape, output=True)
        for root in (True, False):
            found.see(root, float(_gap(moved, out, root=root) / _gap(near - x, into, root=root)))


class Proof:
    """A module captured once, and what is proved of it."""

    def __init__(self, module: nn.Module, *inputs: Tensor) -> None:
        self.module, self.inputs = module.eval(), inputs
        self.program: Any = None
        export = torch.export.export

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.program = export(*args, **kwargs)
            return self.program

        with mock.patch("torch.export.export", recorded):
            self.reading = read(module, inputs, {})

    def certificate(self, domain: float | None = None) -> LipschitzCertificate:
        with mock.patch.object(certificate, "read", return_value=self.reading):
            return certify(self.module, self.inputs, domain)

    def constants(self, domain: float) -> list[tuple[float, float]]:
        """In l2 and in RMS, of both sweeps: `certify` gives the better, which may hide that one is wrong."""
        fine, coarse = self.sweeps(domain)
        graph = self.reading.graph
        pairs = ((fine, True), (coarse, False))
        return [certificate._constants(graph, swept, by_token=by_token) for swept, by_token in pairs]

    def sweeps(self, domain: float) -> tuple[Sweep, Sweep]:
        """By the token, and by whole samples, as `certify` makes them."""
        graph, wanted, results = self.reading.graph, self.reading.wanted, []
        for spaces in (
            {node: natural(node, wanted.get(node)) for node in graph.inputs},
            {node: whole(node) for node in graph.inputs},
        ):
            bounds = {n: times(domain, conversion(certificate.stated(n), spaces[n])) for n in graph.inputs}
            setting = Setting(
                Measured(),
                bounds,
                spaces,
                {} if results else wanted,
                self.reading.rules,
                other=results[0].states if results else None,
            )
            results.append(sweep(graph, setting))
        return results[0], results[1]

    def values(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Every node's value, by its name."""
        seen: dict[str, Tensor] = {}

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                seen[n.name] = value.clone() if isinstance(value, Tensor) else value  # it may be changed in place
                return value

        program = self.program
        flat = []
        given = iter(inputs)
        for spec in program.graph_signature.input_specs:
            if spec.kind.name == "USER_INPUT":
                flat.append(next(given))
            else:
                flat.append(program.state_dict.get(spec.target, program.constants.get(spec.target)))
        with torch.no_grad(), formula():
            Recorder(program.graph_module).run(*flat)
        return seen

    def check_lengths(self, domain: float, count: int = 6) -> None:
        """No activation is longer than its bound, for inputs of the domain."""
        (x,) = self.inputs
        swept = self.sweeps(domain)
        for point in starts(tuple(x.shape), domain, count):
            values = self.values(point)
            for results in swept:
                for node, state in results.states.items():
                    effect = state.effect
                    if self.reading.graph.kind[node] != "active" or effect.bound == inf:
                        continue
                    value = values[node.name]
                    assert tuple(value.shape) == node.shape == effect.space.shape, (node, effect.space)
                    size = float(length(value, effect.space))
                    if size != size:
                        continue  # 0 / 0, where the slope is infinite
                    assert size <= effect.bound * ROUNDING + 1e-12, (
                        f"{node} measures {size} in {effect.space}, but is bounded by {effect.bound}: {effect.reason}"
                    )


def attack(module: nn.Module, x: Tensor, domain: float | None, **effort: Any) -> tuple[Stretch, LipschitzCertificate]:
    """Measured and proved, after asserting that the first is no larger."""
    proof = Proof(module, x)
    proved = proof.certificate(domain)
    found = stretch(module, tuple(x.shape), inf if domain is None else domain, **effort)
    check(found, proved)
    if domain is not None:
        proof.check_lengths(domain)
    return found, proved


def check(found: Stretch, proved: LipschitzCertificate) -> None:
    for name, value, bound in (("l2", found.l2, proved.lipschitz), ("RMS", found.rms, proved.lipschitz_rms)):
        assert value <= bound * ROUNDING, (
            f"measured {value} > proved {bound} in {name}, a share of {value / bound if bound else inf}\n{proved}"
        )


Weights = Mapping[str, Tensor]


def unit_update(plan: Plan, raw: Weights) -> dict[str, Tensor]:
    """An update of modular norm 1, every parameter's as long as it may be."""
    result = {}
    for name, entry in plan.items():
        size = entry.geometry.norm(as_matrix(raw[name].detach(), entry.geometry.kernel_axes)).max()
        result[name] = raw[name].detach() * (entry.budget / size if size > 0 else 0.0)
    return result


def steepest_update(plan: Plan, grads: Weights) -> dict[str, Tensor]:
    """The update of modular norm 1 along which the gradients promise most."""
    result = {}
    for name, entry in plan.items():
        g = grads[name].detach()
        u = torch.zeros_like(g)
        axes = entry.geometry.kernel_axes
        matrix = as_matrix(g, axes)
        if matrix.norm() > 0:
            as_matrix(u, axes).copy_(-entry.budget * entry.geometry.norm.lmo(matrix))
        result[name] = u
    return result


def update_stretch(
    plan: Plan, model: nn.Module, out: Space, inputs: list[Tensor], *, steps: int = 12, climb: Space | None = None
) -> float:
    """The largest first-order change of the output found, over updates of modular norm 1 and over inputs.

    Args:
        plan: of the model.
        model: its weights as they are.
        out: norm of the output.
        inputs: to start from; where `climb` is given, they move inside of the plan's domain in that norm.
        steps: of each ascent.
        climb: norm of the inputs.
    """
    weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    best = 0.0
    with formula():
        for seed, x in enumerate(inputs):
            raw = {n: draw(*p.shape, seed=seed + i) for i, (n, p) in enumerate(weights.items())}
            if seed % 2:
                raw = {n: torch.ones_like(r) for n, r in raw.items()}
            u = unit_update(plan, raw)
            for step in range(steps):
                moving = climb is not None and step % 3 == 2
                x = x.detach().requires_grad_(moving)
                run = lambda w: functional_call(model, w, (x,))  # noqa: B023, E731
                moved = jvp(run, (weights,), (u,))[1]
                size = length(moved, out)
                best = max(best, float(size.detach()))
                if moving and climb is not None:
                    g = _uphill(size, x) if size.requires_grad else None
                    if g is not None:
                        x = inside(x.detach() + 0.3 * steepest(g, climb), climb, plan.domain)
                    continue
                leaf = moved.detach().clone().requires_grad_()
                length(leaf, out).backward()
                u = steepest_update(plan, vjp(run, weights)[1](leaf.grad)[0])
    return best
