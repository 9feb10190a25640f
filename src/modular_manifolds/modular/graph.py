"""A model as a graph: what torch.export captures, with every parameter by its own name and every constant at hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from modular_manifolds.distributed import gathered
from modular_manifolds.modular.families import COPIES, DROPOUTS, TRANSPOSES
from modular_manifolds.modular.unsharded import unsharded

VIEWS = COPIES | TRANSPOSES
"""Operations that leave a weight what it is, or transpose it."""


class CaptureError(ValueError):
    """A model, or a part of it, that could not be read; the message says where, and what to do."""


@dataclass(eq=False)
class Node:
    """One tensor of the graph. `op` is "input", "parameter", "constant", "aten.relu", ... or a fused one."""

    name: str
    op: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    modules: tuple[tuple[str, str], ...] = ()
    """(path, type) of the modules it was computed in, outermost first."""
    calls: tuple[str, ...] = ()
    """What tells apart two calls of one of these modules."""
    target: Any = None
    """What to call, to compute it."""
    fixed: Tensor | None = None
    """The value of a constant, or of a parameter."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list["Node"]:
        """The nodes among the arguments, in order."""
        return list(_nodes((self.args, self.kwargs)))

    @property
    def path(self) -> str:
        """The innermost module's path."""
        return self.modules[-1][0] if self.modules else ""

    @property
    def place(self) -> str:
        """For messages: what and where."""
        kind = self.modules[-1][1].rpartition(".")[2] if self.modules else "model"
        return f"{self.op} in {self.path or 'the model'} ({kind})"

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or by name."""
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.op} {self.shape}>"


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _nodes(item)


def substitute(value: Any, change: dict[Node, Node]) -> Any:
    """Arguments with nodes replaced by others."""
    if isinstance(value, Node):
        return change.get(value, value)
    if isinstance(value, list | tuple):
        return type(value)(substitute(item, change) for item in value)
    if isinstance(value, dict):
        return {key: substitute(item, change) for key, item in value.items()}
    return value


@dataclass
class Graph:
    """Nodes in the order of computation, and the outputs among them."""

    nodes: list[Node]
    outputs: list[Node]

    def __post_init__(self) -> None:
        self.prune()

    def prune(self) -> None:
        """Forget what no output depends on, and note who uses what."""
        needed: set[Node] = set()
        stack = list(self.outputs)
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack.extend(node.inputs)
        self.nodes = [node for node in self.nodes if node in needed or node.op in ("input", "parameter")]
        self.users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                self.users[source].append(node)
        self._classify()

    def _classify(self) -> None:
        """Tell apart constants, whole numbers, weights and activations."""
        self.kind: dict[Node, str] = {}
        for node in self.nodes:
            kinds = {self.kind[source] for source in node.inputs}
            if node.op == "input":
                kind = "active" if node.dtype.is_floating_point else "discrete"
            elif node.op == "parameter":
                kind = "weight"
            elif node.op == "constant" or kinds <= {"constant"}:
                kind = "constant"
            elif "active" not in kinds and not node.dtype.is_floating_point:
                kind = "discrete"
            elif kinds <= {"weight", "constant"} and node.op in VIEWS:
                kind = "weight"
            elif kinds <= {"discrete", "constant"}:
                kind = "discrete"
            else:
                kind = "active"
            if kind == "active" and not node.dtype.is_floating_point:
                kind = "discrete"
            self.kind[node] = kind

    @property
    def inputs(self) -> list[Node]:
        return [node for node in self.nodes if node.op == "input"]

    @property
    def parameters(self) -> list[Node]:
        return [node for node in self.nodes if node.op == "parameter"]

    def value(self, node: Node) -> Tensor:
        """The value of a constant."""
        if node.fixed is None:
            arguments, keywords = self._values(node.args), self._values(node.kwargs)
            with torch.no_grad():
                node.fixed = node.target(*arguments, **keywords)
        assert node.fixed is not None
        return node.fixed

    def _values(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self.value(value)
        if isinstance(value, list | tuple):
            return type(value)(self._values(item) for item in value)
        if isinstance(value, dict):
            return {key: self._values(item) for key, item in value.items()}
        return value

    def weight(self, node: Node) -> tuple[Node, bool]:
        """The parameter that a weight is a view of, and whether it is transposed.

        Raises:
            CaptureError: it is turned round in another way.
        """
        transposed = False
        while node.op != "parameter":
            ndim = len(node.shape)
            order = list(range(ndim))
            if node.op == "aten.transpose":
                i, j = (d % ndim for d in node.args[1:3])
                order[i], order[j] = j, i
            elif node.op == "aten.permute":
                order = [d % ndim for d in node.args[1]]
            elif node.op in ("aten.t", "aten.numpy_T", "aten.mT"):
                order = order[:-2] + order[-2:][::-1] if node.op == "aten.mT" else order[::-1]
            if ndim > 2 and order != sorted(order):
                raise CaptureError(f"{node.place}: a parameter of {ndim} axes is permuted, which is not understood")
            transposed ^= order != sorted(order)
            node = node.inputs[0]
        return node, transposed


def capture(model: nn.Module, example_inputs: tuple[Any, ...]) -> Graph:
    """The graph of model(*example_inputs), in evaluation mode, by torch.export; of a sharded model as on one process.

    Raises:
        CaptureError: torch.export fails, with its reason.
        TypeError: example_inputs is no tuple.
    """
    if not isinstance(example_inputs, tuple):
        raise TypeError(
            f"example_inputs must be a tuple of positional inputs, got {type(example_inputs).__name__}; for one "
            "tensor x write (x,)"
        )
    training = {module: module.training for module in model.modules()}
    model.eval()
    read = unsharded(model)
    try:
        program = torch.export.export(_Outputs(read), _beside(read, model, example_inputs), strict=False)
    except Exception as error:  # whatever the tracer raises means the same to the user
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise CaptureError(
            f"torch.export could not capture {type(model).__name__}: {lines[0] if lines else error!r}\n"
            + "\n".join(lines[1:12])
            + "\nIt reads one straight-line computation: no control flow by values, no calls out of torch. "
            "Wrap the offending part in a module and give it a rule, or pass a model without it"
        ) from error
    finally:
        for module, mode in training.items():
            module.train(mode)
    return _read(program, model)


def _beside(read: nn.Module, model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, on the host if that is where what is read instead of the model lies."""
    return inputs if read is model else tuple(x.cpu() if isinstance(x, Tensor) else x for x in inputs)


_WRAPPED = "model."


class _Outputs(nn.Module):
    """A model without what it returns beside tensors, such as caches."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any) -> tuple[Tensor, ...]:
        return tuple(_tensors(self.model(*args)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _read(program: torch.export.ExportedProgram, model: nn.Module) -> Graph:
    names = {id(p): name for name, p in model.named_parameters()}
    parameters: dict[str, Node] = {}
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    made: dict[fx.Node, Any] = {}
    nodes: list[Node] = []
    outputs: list[Node] = []

    _check_in_place(program.graph)

    def convert(value: Any) -> Any:
        return fx.node.map_arg(value, lambda n: made[n]) if not isinstance(value, fx.Node) else made[value]

    for item in program.graph.nodes:
        if item.op == "placeholder":
            node = _placeholder(item, specs[item.name], program, model, names, parameters)
            if node is None:
                continue
        elif item.op == "output":
            outputs = [n for n in _nodes(convert(item.args[0])) if n.dtype.is_floating_point]
            continue
        elif item.op == "get_attr":
            fixed = getattr(program.graph_module, item.target)
            node = Node(item.name, "constant", shape=tuple(fixed.shape), dtype=fixed.dtype, fixed=fixed)
        else:
            node = _call(item, convert)
            if not isinstance(node, Node):
                made[item] = node
                continue
        made[item] = node
        if node not in nodes[-1:] and not (node.op == "parameter" and node in nodes):
            nodes.append(node)
    return Graph(nodes, outputs)


def _placeholder(
    item: fx.Node,
    spec: Any,
    program: torch.export.ExportedProgram,
    model: nn.Module,
    names: dict[int, str],
    parameters: dict[str, Node],
) -> Node | None:
    value = item.meta.get("val")
    if spec.kind == InputKind.USER_INPUT:
        if not isinstance(value, Tensor):
            return Node(item.name, "constant", fixed=value)
        return Node(item.name, "input", shape=tuple(value.shape), dtype=value.dtype)
    if spec.kind == InputKind.PARAMETER:
        p = model.get_parameter(spec.target.removeprefix(_WRAPPED))
        name = names[id(p)]
        if not p.requires_grad:
            fixed = gathered(p.detach())
            return Node(item.name, "constant", shape=tuple(p.shape), dtype=p.dtype, fixed=fixed)
        if name not in parameters:
            parameters[name] = Node(name, "parameter", shape=tuple(p.shape), dtype=p.dtype, fixed=p.detach())
        return parameters[name]
    if spec.kind == InputKind.BUFFER:
        fixed = program.state_dict.get(spec.target, program.constants.get(spec.target))
    else:
        fixed = program.constants.get(spec.target)
    if not isinstance(fixed, Tensor):
        return Node(item.name, "constant", fixed=fixed)
    return Node(item.name, "constant", shape=tuple(fixed.shape), dtype=fixed.dtype, fixed=fixed)


_SHAPED = {f"aten.{op}" for op in ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")}


def _check_in_place(graph: fx.Graph) -> None:
    """Refuse what changes a tensor that something else sees, as a view of it would: the graph does not say so.

    Raises:
        CaptureError: naming the operation.
    """
    memory: dict[fx.Node, fx.Node] = {}
    """Whose memory a tensor is."""
    overwritten: dict[fx.Node, dict[fx.Node, str]] = {}
    """By memory: tensors that no longer are what they were computed as, and what changed them."""
    for item in graph.nodes:
        sources = list(item.all_input_nodes)
        schema = getattr(item.target, "_schema", None)
        for x in sources:
            old = overwritten.get(memory.get(x, x), {}).get(x)
            if old is not None:
                raise CaptureError(
                    f"{old} changes a tensor in place of which another, {x.name}, is a view, and that is used "
                    "afterwards; write it without changing tensors in place, e.g. with torch.where or torch.cat"
                )
        memory[item] = item
        if item.target is getitem or str(item.target).partition(".default")[0] in DROPOUTS:
            memory[item] = memory[sources[0]] if sources else item
        if schema is None:
            continue
        for argument, given in zip(schema.arguments, item.args, strict=False):
            if argument.alias_info is None or not isinstance(given, fx.Node):
                continue
            memory[item] = root = memory[given]
            if argument.alias_info.is_write:
                shared = [x for x, theirs in memory.items() if theirs is root and x is not item]
                overwritten.setdefault(root, {}).update(dict.fromkeys(shared, str(item.target)))


_PIECES = {"aten.split", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split", "aten.unbind", "aten.unsafe_split"}


def _call(item: fx.Node, convert: Any) -> Any:
    if item.target is getitem:
        index: Any = item.args[1]
        return _item(convert(item.args[0]), index, item)
    value = item.meta.get("val")
    op = str(item.target).rpartition(".")[0] if str(item.target).count(".") >= 2 else str(item.target)
    stack = item.meta.get("nn_module_stack") or {}
    modules = tuple(
        (_clean(path), kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}")
        for path, kind in stack.values()
        if path
    )
    calls = tuple(key for key, (path, _) in stack.items() if path)
    common: dict[str, Any] = {
        "calls": calls,
        "args": tuple(map(convert, item.args)),
        "kwargs": {key: convert(arg) for key, arg in item.kwargs.items()},
        "modules": modules,
        "target": item.target,
    }
    if op in _SHAPED:
        given = common["args"][0]  # of which only the shape matters
        common["args"] = (torch.zeros(given.shape, dtype=given.dtype), *common["args"][1:])
    if isinstance(value, Tensor):
        return Node(item.name, op, shape=tuple(value.shape), dtype=value.dtype, **common)
    if isinstance(value, list | tuple):
        return _Several(item.name, op, common, list(value))
    return Node(item.name, "constant" if not common["args"] else op, dtype=torch.int64, **common)


def _clean(path: str) -> str:
    """A module's path without what the tracer adds to tell calls of one module apart."""
    return (path.partition("@")[0] + ".").removeprefix(_WRAPPED).removesuffix(".")


@dataclass
class _Several:
    """An operation with several results."""

    name: str
    op: str
    common: dict[str, Any]
    values: list[Any]


def _item(source: "_Several", index: int, item: fx.Node) -> Node:
    value = source.values[index]
    shape = tuple(value.shape)
    common = dict(source.common)
    if source.op in _PIECES:
        x = common["args"][0]
        dim = common["args"][1 if source.op == "aten.unbind" else 2 : 3]
        dim = int(dim[0] if dim else common["kwargs"].get("dim", 0)) % len(x.shape)
        if source.op == "aten.unbind":
            common |= {"args": (x, dim, index), "kwargs": {}, "target": torch.ops.aten.select.int}
            return Node(item.name, "aten.select", shape=shape, dtype=value.dtype, **common)
        start = sum(int(v.shape[dim]) for v in source.values[:index])
        common |= {"args": (x, dim, start, shape[dim]), "kwargs": {}, "target": torch.ops.aten.narrow.default}
        return Node(item.name, "aten.narrow", shape=shape, dtype=value.dtype, **common)
    target = common.pop("target")
    node = Node(item.name, source.op, shape=shape, dtype=value.dtype, target=_Nth(target, index), **common)
    node.extra["index"] = index
    return node


@dataclass(frozen=True)
class _Nth:
    """The index-th result of an operation."""

    target: Any
    index: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)[self.index]
