"""A sharded model as it would be on one process, to be read and not to be run: its parameters have shapes only."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def unsharded(model: nn.Module) -> nn.Module:
    """The model itself if it has no DTensors; else a copy that shares nothing that is large.

    Parameters become memory on the host that is never touched, and so never taken; the hooks of torch.distributed, and
    the classes that `fully_shard` makes, are left out.
    """
    if not any(isinstance(p, DTensor) for p in model.parameters()):
        return model
    return _copy(model, {}, {})


def _copy(
    module: nn.Module, modules: dict[nn.Module, nn.Module], tensors: dict[torch.Tensor, torch.Tensor]
) -> nn.Module:
    if module in modules:
        return modules[module]
    kind: type = type(module)
    if isinstance(module, FSDPModule):
        kind = next(base for base in kind.__mro__ if not issubclass(base, FSDPModule))
    copy: nn.Module = object.__new__(kind)
    modules[module] = copy
    copy.__dict__ = dict(module.__dict__)
    for name in HOOKS:
        hooks = module.__dict__.get(name, {})
        copy.__dict__[name] = OrderedDict((key, hook) for key, hook in hooks.items() if not _is_distributed(hook))
    copy.__dict__["_parameters"] = {name: _shape_of(p, tensors) for name, p in module._parameters.items()}
    copy.__dict__["_buffers"] = {name: None if b is None else b.cpu() for name, b in module._buffers.items()}
    copy.__dict__["_modules"] = {
        name: None if child is None else _copy(child, modules, tensors) for name, child in module._modules.items()
    }
    return copy


def _shape_of(p: nn.Parameter | None, tensors: dict[Tensor, Tensor]) -> Tensor | None:
    """The same object for a parameter that is used twice."""
    if p is None:
        return None
    if p not in tensors:
        tensors[p] = nn.Parameter(torch.empty(p.shape, dtype=p.dtype), requires_grad=p.requires_grad)
    return tensors[p]


def _is_distributed(hook: Callable[..., Any]) -> bool:
    function: Any = hook.func if isinstance(hook, partial) else hook
    return str(getattr(function, "__module__", "")).startswith("torch.distributed")
