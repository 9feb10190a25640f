"""One optimizer for a whole model: steepest descent on a manifold for some groups, AdamW for the others."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from modular_manifolds.geometry import Geometry
from modular_manifolds.linalg import working_dtype
from modular_manifolds.manifolds import Euclidean
from modular_manifolds.optim.adamw import adamw_
from modular_manifolds.optim.descent import descend_
from modular_manifolds.optim.projection import (
    NamedParameter,
    as_matrix,
    check_on_manifold,
    named_parameters,
    read_together,
)


class ModularOptimizer(Optimizer):
    """Steps every group of parameters by the geometry that it carries.

    A group with a `Geometry` takes, on the exponential average of its gradients, the steepest tangent step of length
    `lr` and lands on its manifold; groups with `geometry=None` are stepped by AdamW. Parameters of one shape are
    solved as one batch. Vectors count as 1 x d matrices; all axes but the last two are a batch. Parameters in bfloat16
    or float16 keep a float32 master copy in the state, and are rounded from it.

    Args:
        params: parameter groups, each a dict with "params" and "geometry" (a Geometry, or None for AdamW), and any of
            the settings below. Pass (name, parameter) pairs, as from `model.named_parameters()`, to be told of
            parameters by name.
        lr: length of a step in the group's norm (for Stiefel x spectral: the angle in radians, over the radius), or
            AdamW's learning rate.
        momentum: weight of the past in the average of gradients; 0 for none.
        nesterov: look one step ahead, as torch.optim.Muon does.
        weight_decay: decoupled, for AdamW and Euclidean groups only.
        betas, eps: of AdamW groups. (Schedulers that cycle momentum cycle `momentum`, and leave these alone.)
        maximize: ascend instead of descend.
        nonfinite: what to do about a gradient with a NaN or an Inf: "raise" an error that names the parameter, with
            nothing changed, or "skip" that parameter in this step.

    Raises:
        TypeError: a parameter is not a real, dense floating-point tensor.
        ValueError: a setting is out of range; a group has no geometry; a parameter occurs twice or is off its
            manifold; weight decay on a manifold.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        *,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
    ) -> None:
        self._versions: dict[Tensor, int] = {}
        # kept out of the defaults: schedulers that cycle momentum look for "betas" there, and would miss "momentum"
        self._adamw = {"betas": betas, "eps": eps}
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "nonfinite": nonfinite,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as to any torch optimizer; it is checked first, and nothing changes if it is refused."""
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group must be a dict, got {type(param_group).__name__}")
        group = {**self.defaults, **param_group}
        if not isinstance(group["params"], Tensor | set):  # those two are super's to handle
            group["params"] = list(group["params"])
        named = named_parameters(group, f"params[{len(self.param_groups)}]")
        _check_tensors(named)
        if "geometry" not in group:
            raise ValueError(
                "every group must claim its parameters with a 'geometry': a Geometry, e.g. Geometry(Stiefel(), "
                f"Spectral()), or None for AdamW; nothing claims {', '.join(name for name, _ in named[:3]) or 'these'}"
            )
        if group["geometry"] is None:
            group = {**self._adamw, **group}
        _check_settings(group)
        if group["geometry"] is not None:
            check_on_manifold(named, group["geometry"].manifold)
        super().add_param_group(group)
        self._versions |= {p: p._version for _, p in named}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step.

        Args:
            closure: reevaluates the model and returns the loss.

        Returns:
            The closure's loss, if there is one.

        Raises:
            TypeError: a gradient is sparse.
            ValueError: a gradient is not finite (and nonfinite is "raise"), a setting has been put out of range, or a
                parameter has been moved off its manifold since the last step (in place; writes through `.data` escape
                notice). No parameter and no state has been changed then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            _check_settings(group)
        work = [
            (group, [(name, p) for name, p in named_parameters(group, f"params[{i}]") if p.grad is not None])
            for i, group in enumerate(self.param_groups)
        ]
        work = [(group, _with_finite_gradients(group["nonfinite"], named)) for group, named in work]
        for group, named in work:
            self._check_untouched(group, named)
        for group, named in work:
            self._update(group, [p for _, p in named])
        return loss

    def _check_untouched(self, group: dict[str, Any], named: list[NamedParameter]) -> None:
        """Look again at parameters that something else than this optimizer has written to, e.g. a loaded checkpoint."""
        touched = [(name, p) for name, p in named if self._versions.get(p) != p._version]
        if touched and group["geometry"] is not None:
            check_on_manifold(touched, group["geometry"].manifold)
        for _, p in touched:
            master = self.state[p].get("master") if p in self.state else None
            if master is not None and not torch.equal(master.to(p.dtype), p):
                del self.state[p]["master"]

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if not params:
            return
        states = [self.state[p] for p in params]
        weights = [self._master(group["geometry"], p) for p in params]
        grads = [p.grad.to(w.dtype) for p, w in zip(params, weights, strict=True) if p.grad is not None]
        (adamw_ if group["geometry"] is None else descend_)(group, weights, grads, states)
        for p, w in zip(params, weights, strict=True):
            if w is not p:
                p.copy_(w)
            self._versions[p] = p._version

    def _master(self, geometry: Geometry | None, p: Tensor) -> Tensor:
        """The tensor to be stepped: p itself, or its float32 copy where p is of lower precision."""
        if p.dtype == working_dtype(p.dtype):
            return p
        state = self.state[p]
        if "master" not in state:
            master = p.to(working_dtype(p.dtype))
            if geometry is not None:
                master = geometry.manifold.project(as_matrix(master)).reshape(p.shape)
            state["master"] = master
        return cast(Tensor, state["master"])

    def state_dict(self) -> dict[str, Any]:
        """As of any torch optimizer, with each geometry as plain data, so that it loads with `weights_only=True`."""

        def describe(_: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
            groups = [
                {**group, "geometry": None if group["geometry"] is None else group["geometry"].to_dict()}
                for group in state_dict["param_groups"]
            ]
            return {**state_dict, "param_groups": groups}

        handle = self.register_state_dict_post_hook(describe, prepend=True)  # the user's own hooks see plain data
        try:
            return super().state_dict()
        finally:
            handle.remove()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a `state_dict`, bit for bit: load the model's parameters as well.

        Raises:
            ValueError: the groups differ in number or size, one has no geometry (the state is another optimizer's), or
                a geometry's type is not defined in this process. Nothing has been changed then.
        """
        loaded: dict[str, Any] = {}

        def rebuild(_: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
            groups = []
            for i, group in enumerate(state_dict["param_groups"]):
                if "geometry" not in group:
                    raise ValueError(f"group {i} of this state has no 'geometry': another optimizer saved it")
                geometry = group["geometry"]
                if isinstance(geometry, dict):
                    geometry = Geometry.from_dict(geometry)
                settings = self.defaults | (self._adamw if geometry is None else {})
                groups.append({**settings, **group, "geometry": geometry})
            loaded.update({**state_dict, "param_groups": groups})
            return loaded

        handle = self.register_load_state_dict_pre_hook(rebuild)  # after the user's own hooks
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        # torch casts the state to the parameter's dtype, which would round a float32 master to bfloat16, and shares
        # what needs no cast with the caller
        for group, saved in zip(self.param_groups, loaded["param_groups"], strict=True):
            for p, key in zip(group["params"], saved["params"], strict=True):
                for name, value in loaded["state"].get(key, {}).items():
                    if isinstance(value, Tensor):
                        own = value.detach().clone()
                        self.state[p][name] = own if name == "step" else own.to(p.device, working_dtype(p.dtype))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_adamw": self._adamw}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions = {}


def _with_finite_gradients(nonfinite: str, named: list[NamedParameter]) -> list[NamedParameter]:
    """The parameters whose gradient is finite, from one flag each, read together.

    Raises:
        TypeError: a gradient is sparse.
        ValueError: a gradient is not finite, and that is not to be skipped.
    """
    for name, p in named:
        if p.grad is not None and p.grad.layout != torch.strided:
            raise TypeError(f"the gradient of {name} is sparse ({p.grad.layout}); make it dense, e.g. sparse=False")
    finite = read_together([torch.isfinite(p.grad).all() for _, p in named if p.grad is not None])
    bad = [name for (name, _), ok in zip(named, finite, strict=True) if not ok]
    if bad and nonfinite == "raise":
        raise ValueError(
            f"the gradient of {', '.join(bad)} has a NaN or an Inf; nothing has been changed. To skip such parameters "
            "pass nonfinite='skip'"
        )
    return [item for item, ok in zip(named, finite, strict=True) if ok]


def _check_settings(group: dict[str, Any]) -> None:
    lr, geometry = group["lr"], group["geometry"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"a tensor lr must have one element, got shape {tuple(lr.shape)}")
    # an lr on an accelerator is not read: that would make every step wait for it
    if not (isinstance(lr, Tensor) and lr.device.type != "cpu") and not 0 <= float(lr) < float("inf"):
        raise ValueError(f"lr must be finite and not negative, got {float(lr)}")
    if not 0 <= group["momentum"] < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {group['momentum']}")
    if not 0 <= group["weight_decay"] < float("inf"):
        raise ValueError(f"weight_decay must be finite and not negative, got {group['weight_decay']}")
    if group["nonfinite"] not in ("raise", "skip"):
        raise ValueError(f"nonfinite must be 'raise' or 'skip', got {group['nonfinite']!r}")
    if geometry is None:
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']}")
        if not group["eps"] >= 0:
            raise ValueError(f"eps must not be negative, got {group['eps']}")
    elif not isinstance(geometry, Geometry):
        raise TypeError(f"a group's geometry must be a Geometry or None, got {type(geometry).__name__}")
    elif group["weight_decay"] and not isinstance(geometry.manifold, Euclidean):
        raise ValueError(
            f"weight decay on {geometry.manifold}: the manifold already fixes the size of the weights, and the step "
            "back onto it would undo the decay; set weight_decay=0 in this group"
        )


def _check_tensors(named: list[NamedParameter]) -> None:
    seen: dict[Tensor, str] = {}
    for name, p in named:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name} is no tensor but a {type(p).__name__}")
        if p.layout != torch.strided:
            raise TypeError(f"{name} is sparse ({p.layout}); only dense parameters can be stepped")
        if not p.dtype.is_floating_point:
            raise TypeError(f"{name} has dtype {p.dtype}; only real floating-point parameters can be stepped")
        if p in seen:
            raise ValueError(f"{name} occurs twice in its group (first as {seen[p]})")
        seen[p] = name
