"""What a rule says of an operation: how long its output is, and how much of a change in each input it lets through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, prod
from typing import Any, Literal, Protocol

from modular_manifolds.geometry import Geometry
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.space import Space, conversion

UseKind = Literal["matrix", "embedding", "convolution", "vector", "gain", "declared"]


@dataclass(frozen=True)
class Use:
    """What an operation does with a parameter.

    Args:
        kind: "matrix" (y = W x), "embedding" (a row of it), "convolution", "vector" (added), "gain" (multiplied), or
            "declared" (inside of a module whose rule the user gave).
        transposed: whether the matrix is kept as (in, out).
        blocks: number of equal blocks of outputs whose lengths are taken apart, such as heads.
        groups: of a convolution.
        kernel: sizes of a convolution's kernel.
        factor: by which the output's norm exceeds that of what the parameter alone makes.
        input_bound: on what a gain multiplies, where that is not the operation's input.
    """

    kind: UseKind
    transposed: bool = False
    blocks: int = 1
    groups: int = 1
    kernel: tuple[int, ...] = ()
    factor: float = 1.0
    input_bound: float | None = None


class Weights(Protocol):
    """How large weights are: as large as their manifolds allow, or as they are now. Every answer is (bound, proved)."""

    measured: bool

    def gain(self, parameter: Node, use: Use) -> tuple[float, bool]:
        """From the root mean square of the inputs to that of the outputs, the largest over blocks."""

    def row(self, parameter: Node) -> tuple[float, bool]:
        """Root mean square of the longest row."""

    def size(self, parameter: Node, blocks: int) -> tuple[float, bool]:
        """Root mean square of a vector, the largest over blocks."""

    def entry(self, parameter: Node) -> tuple[float, bool]:
        """Largest absolute entry."""


@dataclass(frozen=True)
class Slope:
    """A change of x of length d, in `space`, changes the output by at most factor * d."""

    x: Node
    factor: float
    space: Space


@dataclass(frozen=True)
class Effect:
    """The outcome of a rule.

    Args:
        space: the norm of the output.
        bound: no output is longer, on the domain.
        slopes: one for each input that moves.
        uses: of parameters.
        reason: why, in a line.
        proved: whether the slopes are a theorem, given that the lengths and weights are that they depend on.
        bound_proved: whether the bound is.
        capped: whether the bound holds however long the inputs are.
        cure: where a slope is infinite or unproved, what would change that.
    """

    space: Space
    bound: float
    slopes: tuple[Slope, ...] = ()
    uses: tuple[tuple[Node, Use], ...] = ()
    reason: str = ""
    proved: bool = True
    bound_proved: bool = True
    capped: bool = False
    cure: str = ""


@dataclass(frozen=True)
class Rule:
    """What a user says of a part of the model. Whatever is None is left to the library.

    Args:
        geometry: of the matching parameters.
        mass: of the matching module, shared among its parameters in proportion to their own; or of the parameter.
        sensitivity: of the matching module or operation to each of its inputs, as largest root-mean-square gain.
        bound: on the root mean square of its output.
        proved: whether you can prove these two; otherwise they are reported as estimates.
    """

    geometry: Geometry | None = None
    mass: float | None = None
    sensitivity: float | None = None
    bound: float | None = None
    proved: bool = False

    def __post_init__(self) -> None:
        for name in ("mass", "sensitivity", "bound"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        if self.bound is not None and self.sensitivity is None:
            raise ValueError("a bound needs a sensitivity beside it")


class UnknownOperationError(ValueError):
    """There is no rule for an operation of the model."""


@dataclass
class State:
    """What the forward sweep knows of a node."""

    effect: Effect
    proved: bool
    """Whether its bound is proved."""


@dataclass
class Call:
    """A node as a rule sees it."""

    graph: Graph
    node: Node
    weights: Weights
    states: Mapping[Node, State]
    other: Mapping[Node, State] | None
    """Another sweep, in other norms, whose bounds hold as well."""
    wanted: Space | None
    floor: float | None
    unit: bool = False
    """Whether lengths below 1 are taken to be 1, as sensitivities of modules are stated on unit balls."""
    doubts: dict[str, bool] = field(default_factory=lambda: {"weights": False, "slopes": False, "bound": False})
    """Whether something unproved has been made use of: a number about a weight, or a length that slopes, or only the
    bound, depend on."""

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        return self.node.arg(index, name, default)

    def kind(self, x: Any) -> str:
        """What x is: "active", "weight", "constant", "discrete", or "number" for what is no tensor."""
        return self.graph.kind[x] if isinstance(x, Node) else "number"

    def active(self, x: Any) -> bool:
        return self.kind(x) == "active"

    def space(self, x: Node) -> Space:
        """The norm in which x is measured."""
        return self.states[x].effect.space

    def bound(self, x: Node, space: Space) -> float:
        """No x on the domain is longer, in this norm; for slopes that depend on it."""
        length = self.length(x, space)
        self.doubts["slopes"] |= self.doubts["bound"]
        return 1.0 if self.unit and length < 1 + ROUNDING else length

    def length(self, x: Node, space: Space) -> float:
        """No x on the domain is longer, in this norm; for the bound on the output alone."""
        state = self.states[x]
        best = times(state.effect.bound, conversion(state.effect.space, space))
        proved = state.proved
        if self.other is not None and x in self.other:
            theirs = self.other[x]
            second = times(theirs.effect.bound, conversion(theirs.effect.space, space))
            if second < best:
                best, proved = second, theirs.proved
        self.doubts["bound"] |= not proved
        return best

    def believe(self, answer: tuple[float, bool]) -> float:
        """A number about a weight; it is noted if it is not proved."""
        value, proved = answer
        self.doubts["weights"] |= not proved
        return value

    def shift(self, answer: tuple[float, bool]) -> float:
        """A number about a weight that only lengthens the output, as a bias does."""
        value, proved = answer
        self.doubts["bound"] |= not proved
        return value

    def lipschitz(
        self,
        x: Node,
        slope: float,
        *,
        into: Space | None = None,
        out: Space | None = None,
        at_zero: float = 0.0,
        cap: float = inf,
        reason: str = "",
        **effect: Any,
    ) -> Effect:
        """The effect of a map of one input, measured in `into`, by its slope and how long its value at zero is."""
        into = into or self.space(x)
        at_zero *= prod(n for n, role in (out or into).axes if role == "sum")  # every entry may be so large
        bound = min(cap, at_zero + times(slope, self.length(x, into)))
        return Effect(out or into, bound, (Slope(x, slope, into),), reason=reason, **effect)


ROUNDING = 1e-12
"""By so much, what is 1 in theory may come out larger."""


def times(a: float, b: float) -> float:
    """a b, where 0 times infinity is 0: what never moves is not stretched."""
    return 0.0 if a == 0 or b == 0 else a * b


RuleFunction = Callable[[Call], Effect]
WantFunction = Callable[[Graph, Node, Space | None], Mapping[Node, Space]]

RULES: dict[str, RuleFunction] = {}
"""By operation, e.g. "aten.relu"."""

WANTS: dict[str, WantFunction] = {}
"""By operation: in which norms it would best have its inputs, given that in which its output is wanted."""


def rule(*ops: str) -> Callable[[RuleFunction], RuleFunction]:
    """Decorator that enters a rule for operations of aten (or of "namespace.name")."""

    def enter(function: RuleFunction) -> RuleFunction:
        for op in ops:
            RULES[_key(op)] = function
        return function

    return enter


def wants(*ops: str) -> Callable[[WantFunction], WantFunction]:
    """Decorator that enters what operations want."""

    def enter(function: WantFunction) -> WantFunction:
        for op in ops:
            WANTS[_key(op)] = function
        return function

    return enter


def _key(op: str) -> str:
    return op if "." in op else f"aten.{op}"


def op_name(op: Any) -> str:
    """The name that a rule for an operator, such as torch.ops.mylib.foo or torch.ops.mylib.foo.default, is kept by."""
    name = str(op)
    return name.rpartition(".")[0] if name.count(".") >= 2 else name
