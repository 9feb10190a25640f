"""What every rank does to measure the memory of a sharded step."""

import gc
import re
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import modular_manifolds as mm
from modular_manifolds.distributed import like, local


class Blocks(nn.Module):
    """Square matrices, each in a module of its own."""

    def __init__(self, matrices: int, side: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(side, side, bias=False) for _ in range(matrices))


def memory_of_a_step(matrices: int, side: int) -> dict[str, float]:
    """Bytes of weights, state and gradients of this rank; and the resident ones before a step, and at most.

    The first step, which makes the state; that is not counted to what the step needs for a time.
    """
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(dist.get_rank())
    with torch.device("meta"):
        model = Blocks(matrices, side)
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to_empty(device="cpu")
    for p in model.parameters():
        # the identity is on the manifold, and needs no projection
        mine, rows = local(p.detach()).zero_(), -(-side // dist.get_world_size())
        mine.diagonal(offset=rows * dist.get_rank()).fill_(1)
    optimizer = mm.ManifoldMuon(model.named_parameters(), precision="balanced")
    for p in model.parameters():
        p.grad = like(p, torch.randn_like(local(p.detach())))
    gc.collect()
    _forget_the_peak()
    before, begin = _resident("VmRSS"), time.perf_counter()
    optimizer.step()
    seconds, peak = time.perf_counter() - begin, _resident("VmHWM")
    states = [x for state in optimizer.state.values() for x in state.values() if isinstance(x, Tensor)]
    return {
        "weights": _bytes(list(model.parameters())),
        "state": _bytes(states),
        "gradients": _bytes([p.grad for p in model.parameters() if p.grad is not None]),
        "before": before,
        "peak": peak,
        "transient": peak - before - _bytes(states),
        "seconds": seconds,
    }


def _bytes(tensors: list[Tensor]) -> float:
    return float(sum(local(x).numel() * x.element_size() for x in tensors))


def _resident(field: str) -> float:
    """Bytes of memory, as Linux counts them."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024.0 * int(found[1])


def _forget_the_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")
