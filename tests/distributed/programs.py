"""What every rank does in the tests; each has the same seed, and makes the same whole weights and gradients."""

import copy
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import modular_manifolds as mm
from modular_manifolds.distributed import routes
from modular_manifolds.distributed.routes import Machine
from modular_manifolds.lmo import find_direction
from modular_manifolds.testing.shapes import has_shape
from tests.lmo.every_pair import TABLE

OWNER = Machine(flops=1e30, bandwidth=1e30, latency=-1.0)
"""On which nothing costs anything, and two collectives less than one."""

ROWS = Machine(flops=1e30, bandwidth=1e30, latency=1.0)
"""On which collectives are all that costs."""

MESHES: dict[tuple[int, ...], DeviceMesh] = {}


def mesh_of(shape: tuple[int, ...]) -> DeviceMesh:
    """Of all ranks, made once."""
    if shape not in MESHES:
        MESHES[shape] = init_device_mesh("cpu", shape)
    return MESHES[shape]


def whole(x: Tensor) -> Tensor:
    return x.full_tensor() if isinstance(x, DTensor) else x


def difference(x: Tensor, y: Tensor) -> float:
    """Relative to the largest entry."""
    return float((x - y).abs().max() / y.abs().max()) if y.numel() else 0.0


def problem(
    geometry: mm.Geometry, shapes: Sequence[tuple[int, ...]], steps: int, kind: str = "random", scale: float = 1.0
) -> tuple[list[Tensor], list[Any]]:
    """Weights on the manifold, and gradients for every step."""
    generator = torch.Generator().manual_seed(0)
    weights = [geometry.manifold.random(torch.Size(shape), generator=generator) for shape in shapes]

    def gradient(w: Tensor) -> Tensor:
        g = torch.randn(w.shape, generator=generator)
        if kind == "zero":
            return torch.zeros_like(g)
        if kind == "low rank":
            return g[..., :1] @ g[..., :1, :]
        return w * 2 if kind == "normal" else g * scale

    return weights, [[gradient(w) for w in weights] for _ in range(steps)]


def train(optimizer: torch.optim.Optimizer, params: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]]) -> None:
    for of_step in gradients:
        for p, g in zip(params, of_step, strict=True):
            if isinstance(p, DTensor):
                p.grad = distribute_tensor(g.clone(), p.device_mesh, p.placements)
            else:
                p.grad = g.clone()
        optimizer.step()


def equals_one_process(
    geometry: mm.Geometry,
    shapes: Sequence[tuple[int, ...]],
    mesh_shape: tuple[int, ...],
    placements: Sequence[Placement],
    machine: Machine,
    settings: dict[str, Any],
    kind: str = "random",
    scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> tuple[float, float, float]:
    """Largest difference of weights after 20 steps, and the violation here and on one process."""
    weights, gradients = problem(geometry, shapes, 20, kind, scale)
    weights = [w.to(dtype) for w in weights]
    gradients = [[g.to(dtype) for g in of_step] for of_step in gradients]
    alone = [nn.Parameter(w.clone()) for w in weights]
    group = {"geometry": geometry, **settings}
    train(mm.ModularOptimizer([{"params": alone, **group}]), alone, gradients)
    mesh = mesh_of(mesh_shape)
    spread = [nn.Parameter(distribute_tensor(w.clone(), mesh, placements)) for w in weights]
    optimizer = mm.ModularOptimizer([{"params": spread, **group}], machine=machine)
    train(optimizer, spread, gradients)
    results = [whole(p.detach()) for p in spread]
    worst = max(difference(x, p.detach()) for x, p in zip(results, alone, strict=True))
    violations = [
        max(float(geometry.manifold.violation(x).max()) for x in xs if x.numel())
        for xs in (results, [p.detach() for p in alone])
    ]
    return worst, *violations


def equals_one_process_in_rounds(*args: Any) -> tuple[float, float, float]:
    """`equals_one_process`, with owners that receive one matrix at a time."""
    before, routes.ROUND = routes.ROUND, 1
    try:
        return equals_one_process(*args)
    finally:
        routes.ROUND = before


def table_equals_one_process(
    shapes: Sequence[tuple[int, ...]], mesh_shape: tuple[int, ...], placements: Sequence[Placement], some: bool
) -> list[tuple[str, float, float, float]]:
    """`equals_one_process` for pairs of the table: all of them, or one for each rule."""
    found, seen = [], set()
    for geometry in TABLE:
        rule = find_direction(geometry.manifold, geometry.norm)
        if some and (rule, type(geometry.manifold)) in seen:
            continue
        seen.add((rule, type(geometry.manifold)))
        fitting = [shape for shape in shapes if has_shape(geometry, shape)]
        if fitting:
            found.append((str(geometry), *equals_one_process(geometry, fitting, mesh_shape, placements, OWNER, {})))
    return found


class Small(nn.Module):
    """Of every kind of parameter: tall, wide, square, odd, a vector; one not used, one frozen."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(1)
        self.embedding = nn.Embedding(19, 8)
        self.up = nn.Linear(8, 24, bias=False)
        self.down = nn.Linear(24, 8, bias=False)
        self.square = nn.Linear(8, 8, bias=False)
        self.row = nn.Linear(8, 1, bias=False)
        self.out = nn.Linear(8, 19, bias=True)
        self.unused = nn.Linear(8, 8, bias=False)
        self.frozen = nn.Linear(8, 8, bias=False).requires_grad_(False)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + self.down(torch.relu(self.up(x)))
        x = x + torch.tanh(self.frozen(self.square(x))) * self.row(x)
        return self.out(x) * 1.0  # no view, which FSDP warns of


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    """Stiefel x spectral for matrices but the embedding, whose rows are on a sphere; AdamW for the bias."""
    named = list(model.named_parameters())
    tables = [(name, p) for name, p in named if "embedding" in name]
    matrices = [(name, p) for name, p in named if p.ndim == 2 and "embedding" not in name]
    vectors = [(name, p) for name, p in named if p.ndim == 1]
    return [
        {"params": tables, "geometry": mm.Geometry(mm.Oblique("rows"), mm.MaxRow())},
        {"params": matrices, "geometry": mm.Geometry(mm.Stiefel(), mm.Spectral())},
        {"params": vectors, "geometry": None},
    ]


def tokens_of(step: int) -> Tensor:
    """A batch that 1, 2 and 4 ranks can share."""
    return torch.randint(0, 19, (8, 5), generator=torch.Generator().manual_seed(step))


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    logits = model(tokens[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def fit(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: Sequence[int], parts: int = 1, part: int = 0
) -> None:
    """Train on this rank's part of the batches; gradients are averaged by what the model is wrapped in."""
    for step in steps:
        optimizer.zero_grad()
        loss_of(model, tokens_of(step).chunk(parts)[part]).backward()
        optimizer.step()


def parallelized(model: nn.Module, kind: str) -> tuple[nn.Module, int, int]:
    """The model as a user would wrap it; into how many parts batches are cut, and which one is this rank's."""
    size, rank = dist.get_world_size(), dist.get_rank()
    if kind == "ddp":
        return DistributedDataParallel(model, find_unused_parameters=True), size, rank
    if kind == "fsdp":
        layers = (model.up, model.down)
        for layer in layers:
            fully_shard(layer, mesh=mesh_of((size,)))
        fully_shard(model, mesh=mesh_of((size,)))
        return model, size, rank
    if kind == "hsdp":
        fully_shard(model, mesh=named_mesh((2, size // 2)))
        return model, size, rank
    tensor_parallel = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    if kind == "tp":
        return parallelize_module(model, mesh_of((size,)), tensor_parallel), 1, 0
    assert kind == "fsdp+tp"
    mesh = named_mesh((2, size // 2))
    parallelize_module(model, mesh["tp"], tensor_parallel)
    fully_shard(model, mesh=mesh["dp"])
    return model, 2, mesh.get_local_rank("dp")


def named_mesh(shape: tuple[int, int]) -> DeviceMesh:
    if "dp" not in NAMED:
        NAMED["dp"] = init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"))
    return NAMED["dp"]


NAMED: dict[str, DeviceMesh] = {}


def optimizer_of(model: nn.Module, kind: str, **settings: Any) -> mm.ModularOptimizer:
    inner = model.module if kind == "ddp" else model
    shared = dist.group.WORLD if kind == "ddp" else None
    return mm.ModularOptimizer(groups_of(inner), process_group=shared, **settings)


@contextmanager
def counted() -> Iterator[list[tuple[str, int, float]]]:
    """What is sent meanwhile: the kind of each collective, its numbers, and the bytes that leave this rank."""
    found: list[tuple[str, int, float]] = []
    exchange, reduce, size = dist.all_to_all_single, dist.all_reduce, dist.get_world_size()

    def all_to_all_single(output: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found.append(("all-to-all", input.numel(), input.numel() * input.element_size()))
        return exchange(output, input, *args, **kwargs)

    def all_reduce(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        found.append(("all-reduce", x.numel(), 2 * (1 - 1 / size) * x.numel() * x.element_size()))
        return reduce(x, *args, **kwargs)

    dist.all_to_all_single, dist.all_reduce = all_to_all_single, all_reduce
    try:
        yield found
    finally:
        dist.all_to_all_single, dist.all_reduce = exchange, reduce


def on_sockets() -> int:
    """Bytes that this process has written to its TCP connections, as the kernel counts them."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        if not (entry.is_symlink() and os.readlink(entry).startswith("socket:")):
            continue
        with socket.socket(fileno=os.dup(int(entry.name))) as connection:
            if connection.type == socket.SOCK_STREAM and connection.family in (socket.AF_INET, socket.AF_INET6):
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                total += int.from_bytes(info[200:208], "little")  # tcpi_bytes_sent
    return total


def written_in_a_step(
    shapes: Sequence[tuple[int, ...]], mesh_shape: tuple[int, ...], placements: Sequence[Placement], machine: Machine
) -> tuple[float, int]:
    """What `counted` sees leave this rank in a step, and what the kernel does."""
    dist.barrier()
    seen: list[int] = []
    found = sent_in_a_step(shapes, mesh_shape, placements, machine, "exact", during=lambda: seen.append(on_sockets()))
    return sum(number for *_, number in found), seen[1] - seen[0]


def collectives_of_a_step(
    shape: tuple[int, ...],
    count: int,
    placements: Sequence[Placement],
    machine: Machine,
    precision: str,
    geometry: mm.Geometry | None = None,
) -> list[tuple[str, int, float]]:
    """What the second step of some matrices sends."""
    return sent_in_a_step([shape] * count, (dist.get_world_size(),), placements, machine, precision, geometry)


def sent_in_a_step(
    shapes: Sequence[tuple[int, ...]],
    mesh_shape: tuple[int, ...],
    placements: Sequence[Placement],
    machine: Machine | None,
    precision: str,
    geometry: mm.Geometry | None = None,
    during: Callable[[], None] = lambda: None,
) -> list[tuple[str, int, float]]:
    """What the second step of matrices of several shapes sends; `during` is called before and after it."""
    geometry = geometry or mm.Geometry(mm.Stiefel(), mm.Spectral(), precision=precision)
    weights, gradients = problem(geometry, shapes, 2)
    mesh = mesh_of(mesh_shape)
    spread = [nn.Parameter(distribute_tensor(w, mesh, placements)) for w in weights]
    optimizer = mm.ModularOptimizer([{"params": spread, "geometry": geometry}], machine=machine)
    train(optimizer, spread, gradients[:1])
    for p, g in zip(spread, gradients[1], strict=True):
        p.grad = distribute_tensor(g, mesh, placements)
    during()
    with counted() as found:
        optimizer.step()
    during()
    return found


def error_of(function: Callable[[], Any]) -> tuple[str, str]:
    """Type and message of what it raises."""
    try:
        function()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


def mismatched_groups(which: str) -> tuple[str, str]:
    """Rank 1 adds another group than the others."""
    odd = dist.get_rank() == 1
    mesh = mesh_of((dist.get_world_size(),))
    weights = {"a": mm.Stiefel().random(torch.Size((6, 4))), "b": mm.Stiefel().random(torch.Size((8, 4)))}
    spread = {name: nn.Parameter(distribute_tensor(w, mesh, [Shard(0)])) for name, w in weights.items()}
    params = [(name, spread[name]) for name in (["b", "a"] if odd and which == "order" else ["a", "b"])]
    momentum = 0.5 if odd and which == "momentum" else 0.9
    return error_of(lambda: mm.ManifoldMuon(params, momentum=momentum))


def bad_gradient(which: str) -> tuple[tuple[str, str], float]:
    """The error of a step with a gradient that is not finite on rank 1, or missing there; and how far weights moved."""
    size, odd = dist.get_world_size(), dist.get_rank() == 1
    weights, (gradients,) = problem(mm.Geometry(mm.Stiefel(), mm.Spectral()), [(6, 4), (8, 4)], 1)
    placements = [Replicate() if which == "missing copy" else Shard(0)]
    spread = [nn.Parameter(distribute_tensor(w, mesh_of((size,)), placements)) for w in weights]
    optimizer = mm.ManifoldMuon([("first", spread[0]), ("second", spread[1])])
    for p, g in zip(spread, gradients, strict=True):
        p.grad = distribute_tensor(g, p.device_mesh, placements)
    if odd and which == "nan":
        spread[1].grad.to_local()[0, 0] = float("nan")
    if odd and which.startswith("missing"):
        spread[1].grad = None
    error = error_of(optimizer.step)
    return error, max(difference(whole(p.detach()), w) for p, w in zip(spread, weights, strict=True))


def refused_by_one_rank(which: str) -> tuple[tuple[str, str], float]:
    """The error of a step that rank 1 refuses for itself, or takes at another rate; and how far the weight moved."""
    odd, mesh = dist.get_rank() == 1, mesh_of((dist.get_world_size(),))
    (w,), ((g,),) = problem(mm.Geometry(mm.Stiefel(), mm.Spectral()), [(12, 4)], 1)
    spread, own = nn.Parameter(distribute_tensor(w, mesh, [Shard(0)])), nn.Parameter(w.clone())
    optimizer = mm.ManifoldMuon([("own", own), ("spread", spread)], lr=0.4)
    spread.grad, own.grad = distribute_tensor(g, mesh, [Shard(0)]), g.clone()
    if odd and which == "own gradient":
        own.grad[0, 0] = float("nan")
    if odd and which == "own weight":
        with torch.no_grad():
            own.mul_(2.0)
    if odd and which == "lr":
        optimizer.param_groups[0]["lr"] = 0.6  # too long a step for the rows route
    return error_of(optimizer.step), difference(whole(spread.detach()), w)


def collectives_after_a_write() -> list[int]:
    """How many there are in each of three steps, of a model one of whose parameters is not used."""
    weights, gradients = problem(mm.Geometry(mm.Stiefel(), mm.Spectral()), [(6, 4), (6, 4)], 3)
    mesh = mesh_of((dist.get_world_size(),))
    used, unused = (nn.Parameter(distribute_tensor(w, mesh, [Shard(0)])) for w in weights)
    optimizer = mm.ManifoldMuon([used, unused])
    with torch.no_grad():
        for p in (used, unused):
            p.to_local().mul_(1.0)
    found = []
    for g, _ in gradients:
        used.grad = distribute_tensor(g, mesh, [Shard(0)])
        with counted() as sent:
            optimizer.step()
        found.append(len(sent))
    return found


def step_of_nothing(shape: tuple[int, ...], shard: int) -> tuple[str, str]:
    """A parameter without entries."""
    mesh = mesh_of((dist.get_world_size(),))
    p = nn.Parameter(distribute_tensor(torch.zeros(shape), mesh, [Shard(shard)]))
    optimizer = mm.ManifoldMuon([p], machine=ROWS)
    p.grad = distribute_tensor(torch.zeros(shape), mesh, [Shard(shard)])
    return error_of(optimizer.step)


def state_of_one_process(geometry: mm.Geometry | None) -> tuple[str, str]:
    """What is said of whole tensors that are loaded for a parameter in parts."""
    w = mm.Stiefel().random(torch.Size((6, 4)))
    p = nn.Parameter(w.clone())
    alone = mm.ModularOptimizer([{"params": [p], "geometry": geometry}])
    p.grad = torch.ones_like(w)
    alone.step()
    spread = nn.Parameter(distribute_tensor(w, mesh_of((dist.get_world_size(),)), [Shard(0)]))
    optimizer = mm.ModularOptimizer([{"params": [spread], "geometry": geometry}])
    return error_of(lambda: optimizer.load_state_dict(alone.state_dict()))


def replicas_of_a_copy() -> bool:
    """Whether a deep copy of an optimizer shares its work among the same ranks, and is not pickled without them."""
    optimizer = mm.ManifoldMuon([nn.Parameter(torch.eye(3))], process_group=dist.group.WORLD)
    kind, _ = error_of(lambda: pickle.dumps(optimizer))
    return copy.deepcopy(optimizer)._replicas is optimizer._replicas and kind == "TypeError"


def transposed_mesh(machine: Machine) -> float:
    """Largest difference from one process on a mesh whose ranks are not numbered in row-major order."""
    before = MESHES.get((2, 2))
    MESHES[2, 2] = DeviceMesh("cpu", torch.arange(4).view(2, 2).mT, mesh_dim_names=("a", "b"))
    try:
        geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
        shapes = [(8, 2), (7, 3), (5, 5), (3, 7)]
        return equals_one_process(geometry, shapes, (2, 2), [Shard(0), Shard(1)], machine, {"lr": 0.05})[0]
    finally:
        MESHES.pop((2, 2))
        if before is not None:
            MESHES[2, 2] = before


def frozen_on_one_rank() -> list[float]:
    """How far weights are from one process, of the second of which rank 1 has frozen its part."""
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    weights, gradients = problem(geometry, [(8, 4), (12, 8)], 3)
    mesh, odd = mesh_of((dist.get_world_size(),)), dist.get_rank() == 1
    spread = [nn.Parameter(distribute_tensor(w, mesh, [Shard(0)])) for w in weights]
    alone = [nn.Parameter(w.clone()) for w in weights]
    spread[1].requires_grad_(not odd)
    optimizer = mm.ModularOptimizer([{"params": spread, "geometry": geometry}])
    other = mm.ModularOptimizer([{"params": alone, "geometry": geometry}])
    for of_step in gradients:
        for p, q, g in zip(spread, alone, of_step, strict=True):
            p.grad, q.grad = distribute_tensor(g.clone(), mesh, [Shard(0)]), g.clone()
        alone[1].grad[6:] = 0
        if odd:
            spread[1].grad = None
        optimizer.step()
        other.step()
    return [difference(whole(p.detach()), q.detach()) for p, q in zip(spread, alone, strict=True)]


def step_until_killed(steps: int) -> tuple[str, str]:
    """Steps that a rank does not survive, at which some other process kills it."""
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    weights, gradients = problem(geometry, [(64, 48), (64, 48)], 1)
    spread = [nn.Parameter(distribute_tensor(w, mesh_of((dist.get_world_size(),)), [Shard(0)])) for w in weights]
    optimizer = mm.ManifoldMuon([("up.weight", spread[0]), ("down.weight", spread[1])])
    for p, g in zip(spread, gradients[0], strict=True):
        p.grad = distribute_tensor(g, p.device_mesh, [Shard(0)])
    return error_of(lambda: [optimizer.step() for _ in range(steps)])


def absent_from_a_step() -> tuple[str, str]:
    """Rank 1 forgets to step."""
    weights, gradients = problem(mm.Geometry(mm.Stiefel(), mm.Spectral()), [(8, 4)], 1)
    spread = [nn.Parameter(distribute_tensor(w, mesh_of((dist.get_world_size(),)), [Shard(0)])) for w in weights]
    optimizer = mm.ManifoldMuon([("up.weight", spread[0])])
    spread[0].grad = distribute_tensor(gradients[0][0], spread[0].device_mesh, [Shard(0)])
    if dist.get_rank() == 1:
        time.sleep(8)
        return "absent", ""
    return error_of(optimizer.step)


def model_equals_one_process(kind: str, machine: Machine, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """How far each parameter of a wrapped model is from one process's after 20 steps, and the largest violation."""
    alone, model = Small().to(dtype), Small().to(dtype)
    mm.project_(groups_of(alone))
    fit(alone, mm.ModularOptimizer(groups_of(alone)), range(20))
    wrapped, parts, part = parallelized(model, kind)
    mm.project_(groups_of(model))
    optimizer = optimizer_of(wrapped, kind, machine=machine)
    fit(wrapped, optimizer, range(20), parts, part)
    expected = dict(alone.named_parameters())
    found = {name: difference(whole(p.detach()), expected[name].detach()) for name, p in model.named_parameters()}
    stiefel = [p for p in optimizer.param_groups[1]["params"] if p.grad is not None]
    found["violation"] = max(float(mm.Stiefel().violation(whole(p.detach()))) for p in stiefel)
    return found


def sharded_model(kind: str) -> tuple[nn.Module, int, int]:
    """A projected and wrapped model."""
    model = Small()
    mm.project_(groups_of(model))
    wrapped, parts, part = parallelized(model, kind)
    return wrapped, parts, part


def train_and_save(kind: str, steps: Sequence[int], folder: str) -> list[Tensor]:
    """Train a wrapped model, save it with its optimizer, and give back its whole weights."""
    wrapped, parts, part = sharded_model(kind)
    optimizer = optimizer_of(wrapped, kind)
    fit(wrapped, optimizer, steps, parts, part)
    model_state, optimizer_state = get_state_dict(wrapped, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    return weights_of(wrapped)


def load_and_train(kind: str, steps: Sequence[int], folder: str) -> list[Tensor]:
    """Resume what was saved, wrapped in another way, and give back the whole weights."""
    torch.manual_seed(100)
    wrapped, parts, part = sharded_model(kind)
    optimizer = optimizer_of(wrapped, kind)
    model_state, optimizer_state = get_state_dict(wrapped, optimizer)
    state = {"model": model_state, "optimizer": optimizer_state}
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(wrapped, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    fit(wrapped, optimizer, steps, parts, part)
    return weights_of(wrapped)


def weights_of(model: nn.Module) -> list[Tensor]:
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    return [whole(p.detach()).clone() for p in inner.parameters()]


def keys_of_states(kind: str) -> list[str]:
    """Names of all that a checkpoint of the optimizer holds, after a step."""
    wrapped, parts, part = sharded_model(kind)
    optimizer = optimizer_of(wrapped, kind)
    fit(wrapped, optimizer, [0], parts, part)
    states = get_optimizer_state_dict(wrapped, optimizer)["state"]
    return sorted(f"{name}.{key}" for name, state in states.items() for key in state)


def projected_as_on_one_process(kind: str) -> float:
    """Largest difference after project_ of a model that is wrapped first."""
    alone, model = Small(), Small()
    mm.project_(groups_of(alone))
    parallelized(model, kind)
    mm.project_(groups_of(model))
    expected = dict(alone.named_parameters())
    return max(difference(whole(p.detach()), expected[name].detach()) for name, p in model.named_parameters())


def refused_off_manifold(kind: str) -> tuple[str, str]:
    """The error for a sharded weight that is not on its manifold."""
    model = Small()
    parallelized(model, kind)
    return error_of(lambda: mm.ModularOptimizer(groups_of(model)))


def written_to_between_steps() -> tuple[str, str]:
    """Weights that something else has moved off their manifold, on one rank alone."""
    wrapped, parts, part = sharded_model("fsdp")
    optimizer = optimizer_of(wrapped, "fsdp")
    fit(wrapped, optimizer, [0], parts, part)
    if dist.get_rank() == 1:
        with torch.no_grad():
            wrapped.up.weight.to_local().mul_(2.0)
    return error_of(lambda: fit(wrapped, optimizer, [1], parts, part))


def clipped_and_scaled() -> tuple[float, float]:
    """Largest difference from one process with gradients clipped, and with a GradScaler that meets an overflow."""
    alone, model = Small(), Small()
    mm.project_(groups_of(alone))
    mm.project_(groups_of(model))
    parallelized(model, "fsdp")
    size, rank = dist.get_world_size(), dist.get_rank()
    found = []
    expected = dict(alone.named_parameters())
    for scaled in (False, True):
        pairs = [(alone, 1, 0), (model, size, rank)]
        optimizers = [mm.ModularOptimizer(groups_of(m), lr=0.05) for m, *_ in pairs]
        for (m, parts, part), optimizer in zip(pairs, optimizers, strict=True):
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
            for step in range(8):
                optimizer.zero_grad()
                loss = loss_of(m, tokens_of(step).chunk(parts)[part])
                scaler.scale(loss).backward()
                if scaled and step == 3:
                    # an overflow on the last rank alone
                    grad = m.up.weight.grad
                    part_of = grad.to_local() if isinstance(grad, DTensor) else grad
                    if part == parts - 1:
                        part_of[-1, -1] = float("inf")
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(m.parameters(), 0.1)
                scaler.step(optimizer)
                scaler.update()
        found.append(
            max(difference(whole(p.detach()), expected[name].detach()) for name, p in model.named_parameters())
        )
    return found[0], found[1]


def planned_and_certified(kind: str) -> tuple[bool, bool, float]:
    """Whether plan and certificate of a sharded model are those of a whole one; how far its planned training is off."""
    found = []
    for sharded in (False, True):
        model = nn.Sequential(nn.Embedding(19, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 19))
        with torch.no_grad():
            generator = torch.Generator().manual_seed(2)
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        parts, part = 1, 0
        if sharded:
            names = {"1": ColwiseParallel(), "3": RowwiseParallel()}
            mesh = named_mesh((2, dist.get_world_size() // 2))
            if kind == "fsdp+tp":
                parallelize_module(model, mesh["tp"], names)
                parts, part = 2, mesh.get_local_rank("dp")
                fully_shard(model, mesh=mesh["dp"])
            else:
                parts, part = dist.get_world_size(), dist.get_rank()
                fully_shard(model, mesh=mesh_of((dist.get_world_size(),)))
        plan = mm.modularize(model, (tokens_of(0),))
        plan.project_()
        certificate = mm.certify(model, (tokens_of(0),))
        fit(model, mm.ModularOptimizer(plan, lr=0.5), range(10), parts, part)
        found.append((plan.to_dict(), certificate.lipschitz, [whole(p.detach()) for p in model.parameters()]))
    (plan, bound, weights), (plan2, bound2, weights2) = found
    off = max(difference(x, y) for x, y in zip(weights2, weights, strict=True))
    return plan == plan2, abs(bound2 / bound - 1) < 1e-6, off


def run_blocks(blocks: Sequence[str], folder: str) -> int:
    """Run the code of a page, each block on a model of its own; how many of them made an optimizer, or a model to step.

    The last two blocks, a checkpoint and a scaled step, go on with what the blocks before them have made.
    """
    definitions, *uses, save, scaled = blocks
    stepped = 0
    names: dict[str, Any] = {}
    for block in uses:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Embedding(19, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 19))
        names = {"model": model, "layers": [model[1], model[3]], "device": "cpu", "tokens": tokens_of(0), "loss": _loss}
        exec(definitions, names)
        exec(block, names)
        if "optimizer" not in names:
            mm.project_(names["groups"](model))
            names["optimizer"] = mm.ModularOptimizer(names["groups"](model), lr=0.05)
        if "stack" in names:
            stack = names["stack"]
            stack.grad = distribute_tensor(torch.ones(stack.shape), stack.device_mesh, stack.placements)
            names["optimizer"].step()
        else:
            _loss(names.get("wrapped", model)).backward()
            names["optimizer"].step()
        stepped += 1
    names["folder"] = folder
    exec(save, names)
    names["optimizer"].zero_grad()
    exec(scaled, names)
    return stepped


def _loss(model: nn.Module) -> Tensor:
    return loss_of(model, tokens_of(0))
