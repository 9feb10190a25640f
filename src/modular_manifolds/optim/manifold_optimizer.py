"""What the optimizers on manifolds have in common: checks, master copies and checkpoints."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from modular_manifolds.linalg import working_dtype
from modular_manifolds.optim.batches import State
from modular_manifolds.optim.checks import check_settings, check_tensors, checked_group, with_finite_gradients
from modular_manifolds.projection import (
    NamedParameter,
    as_matrix,
    check_on_manifold,
    kernel_axes_of,
    manifold_of,
    named_parameters,
)


class ManifoldOptimizer(Optimizer):
    """Steps groups of parameters that say where they live; a subclass says how.

    Parameters are checked when they are added, and again when something else has written to them; gradients are
    checked at every step, and nothing is changed if one is refused. Parameters in bfloat16 or float16 keep a float32
    master copy in the state, and are rounded from it.
    """

    signature: ClassVar[tuple[str, ...]]
    """Settings by which a saved group is known to be this optimizer's. The first says where the parameters live."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._versions: dict[Tensor, int] = {}
        super().__init__(params, defaults)

    # what a subclass provides

    def check_claim(self, group: dict[str, Any], named: list[NamedParameter]) -> None:
        """Raise ValueError unless the group says where its parameters live, in the way this optimizer understands."""
        claim = self.signature[0]
        foreign = "manifold" if claim == "geometry" else "geometry"
        if foreign in group:
            raise ValueError(f"a group of {type(self).__name__} says where it lives by '{claim}', not by '{foreign}'")

    def check_settings(self, group: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for a setting that this optimizer cannot honour."""
        check_settings(group)

    def update_(self, group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
        """Step the weights, in place, against the gradients, which are only read."""
        raise NotImplementedError

    def with_defaults(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group with every setting that it does not bring."""
        return {**self.defaults, **group}

    def described(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group as plain data."""
        raise NotImplementedError

    def rebuilt(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group that was described so; one that has been rebuilt already is left as it is."""
        raise NotImplementedError

    # what they share

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as to any torch optimizer; it is checked first, and nothing changes if it is refused."""
        group = self.with_defaults(checked_group(param_group))
        named = named_parameters(group, f"params[{len(self.param_groups)}]")
        check_tensors(named)
        self.check_claim(group, named)
        self.check_settings(group)
        manifold = manifold_of(group)
        if manifold is not None:
            check_on_manifold(named, manifold, kernel_axes_of(group))
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
            self.check_settings(group)
        work = [
            (group, [(name, p) for name, p in named_parameters(group, f"params[{i}]") if p.grad is not None])
            for i, group in enumerate(self.param_groups)
        ]
        work = [(group, with_finite_gradients(group["nonfinite"], named)) for group, named in work]
        for group, named in work:
            self._check_untouched(group, named)
        for group, named in work:
            self._update(group, [p for _, p in named])
        return loss

    def _check_untouched(self, group: dict[str, Any], named: list[NamedParameter]) -> None:
        """Look again at parameters that something else than this optimizer has written to, e.g. a loaded checkpoint."""
        touched = [(name, p) for name, p in named if self._versions.get(p) != p._version]
        manifold = manifold_of(group)
        if touched and manifold is not None:
            check_on_manifold(touched, manifold, kernel_axes_of(group))
        for _, p in touched:
            master = self.state[p].get("master") if p in self.state else None
            if master is not None and not torch.equal(master.to(p.dtype), p):
                del self.state[p]["master"]

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if not params:
            return
        states = [self.state[p] for p in params]
        weights = [self._master(group, p) for p in params]
        grads = [p.grad.to(w.dtype) for p, w in zip(params, weights, strict=True) if p.grad is not None]
        if group["maximize"]:
            grads = list(torch._foreach_neg(grads))
        self.update_(group, weights, grads, states)
        for p, w in zip(params, weights, strict=True):
            if w is not p:
                p.copy_(w)
            self._versions[p] = p._version

    def _master(self, group: dict[str, Any], p: Tensor) -> Tensor:
        """The tensor to be stepped: p itself, or its float32 copy where p is of lower precision."""
        if p.dtype == working_dtype(p.dtype):
            return p
        state = self.state[p]
        if "master" not in state:
            master = p.to(working_dtype(p.dtype))
            manifold = manifold_of(group)
            if manifold is not None:
                matrix = as_matrix(master, kernel_axes_of(group))
                matrix.copy_(manifold.project(matrix))
            state["master"] = master
        return cast(Tensor, state["master"])

    def state_dict(self) -> dict[str, Any]:
        """As of any torch optimizer, with geometries and manifolds as plain data: it loads with `weights_only=True`."""

        def describe(_: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
            return {**state_dict, "param_groups": [self.described(group) for group in state_dict["param_groups"]]}

        handle = self.register_state_dict_post_hook(describe, prepend=True)  # the user's own hooks see plain data
        try:
            return super().state_dict()
        finally:
            handle.remove()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a `state_dict`, bit for bit: load the model's parameters as well.

        Raises:
            ValueError: the groups differ in number or size, one lacks a setting that this optimizer would have saved
                (the state is another optimizer's), or a geometry's type is not defined in this process. Nothing has
                been changed then.
        """
        loaded: dict[str, Any] = {}

        def rebuild(_: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
            for i, group in enumerate(state_dict["param_groups"]):
                for setting in self.signature:
                    if setting not in group:
                        raise ValueError(f"group {i} of this state has no '{setting}': another optimizer saved it")
            groups = [self.with_defaults(self.rebuilt(group)) for group in state_dict["param_groups"]]
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions = {}
