"""What the optimizers on manifolds have in common: checks, master copies and checkpoints."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from modular_manifolds.distributed import Item, LocalState, Spread, Team, added_up, local, spread_of
from modular_manifolds.linalg import working_dtype
from modular_manifolds.optim.agreement import check_agreement
from modular_manifolds.optim.batches import State
from modular_manifolds.optim.checks import check_settings, check_tensors, checked_group, with_finite_gradients
from modular_manifolds.optim.jobs import Job, agreed
from modular_manifolds.projection import (
    NamedParameter,
    as_matrix,
    check_on_manifold,
    kernel_axes_of,
    manifold_of,
    named_parameters,
    project_,
)


class ManifoldOptimizer(Optimizer):
    """Steps groups of parameters that say where they live; a subclass says how.

    Parameters are checked when they are added, and again when something else has written to them; gradients are
    checked at every step, and nothing is changed if one is refused. Parameters in bfloat16 or float16 keep a float32
    master copy in the state, and are rounded from it.
    """

    signature: ClassVar[tuple[str, ...]]
    """Settings by which a saved group is known to be this optimizer's. The first says where the parameters live."""

    def __init__(self, params: Any, defaults: dict[str, Any], replicas: Team | None = None) -> None:
        self._versions: dict[Tensor, int] = {}
        self._spreads: dict[Tensor, Spread | None] = {}
        self._replicas = replicas
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

    def prepare_sharded(self, job: Job) -> Tensor | None:
        """Numbers that a step of a parameter on several ranks needs to have added up over them, in float64."""
        raise NotImplementedError

    def start_state(self, job: Job) -> None:
        """Make what the first step of a parameter on several ranks would.

        Also of one that has no gradient yet: so that checkpoints have the same keys on all ranks, and as those of an
        optimizer that torch.distributed.checkpoint prepares for loading.
        """
        raise NotImplementedError

    def update_sharded_(self, jobs: list[Job]) -> None:
        """Step parameters that lie on several ranks, in place."""
        raise NotImplementedError

    def check_spread(self, name: str, spread: Spread) -> None:
        """Raise TypeError if this optimizer cannot step a parameter that lies on several ranks."""
        raise TypeError(
            f"{name} lies on {spread.team.size} ranks: {type(self).__name__} steps whole parameters only; use "
            "ModularOptimizer"
        )

    def choices(self) -> dict[str, Any]:
        """What else ranks must agree on, beside the settings of groups."""
        return {}

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
        spreads = {p: spread_of(name, p, self._replicas) for name, p in named}
        for name, p in named:
            spread = spreads[p]
            if spread is not None:
                self.check_spread(name, spread)
        check_agreement({**self.described(group), **self.choices()}, named, spreads)
        manifold = manifold_of(group)
        if manifold is not None:
            check_on_manifold(named, manifold, kernel_axes_of(group))
        super().add_param_group(group)
        self._spreads |= spreads
        self._versions |= {p: local(p)._version for _, p in named}

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
        work, jobs = [], []
        for i, group in enumerate(self.param_groups):
            named = named_parameters(group, f"params[{i}]")
            work.append(
                (group, [(name, p) for name, p in named if p.grad is not None and self._spread(name, p) is None])
            )
            jobs += [self._job(group, name, p, spread) for name, p in named if (spread := self._spread(name, p))]
        refusal: Exception | None = None
        try:
            work = [(group, with_finite_gradients(group["nonfinite"], named)) for group, named in work]
            for group, named in work:
                self._check_untouched(group, [(name, p) for name, p in named if self._versions.get(p) != p._version])
        except (TypeError, ValueError) as error:
            if not jobs:
                raise
            refusal = error  # others would wait for this rank if it left without a word
        everyone, jobs = jobs, agreed(jobs, self.prepare_sharded, refusal)
        trained = [job for job in everyone if job.trained]
        self._check_jobs(trained)
        for job in trained:
            self.start_state(job)
        for group, named in work:
            self._update(group, [p for _, p in named])
        self._update_jobs(jobs)
        return loss

    def _spread(self, name: str, p: Tensor) -> Spread | None:
        if p not in self._spreads:
            self._spreads[p] = spread_of(name, p, self._replicas)
        return self._spreads[p]

    def _job(self, group: dict[str, Any], name: str, p: Tensor, spread: Spread) -> Job:
        state, part = LocalState(self.state, p), local(p)
        return Job(group, name, p, spread, state, state.get("master", part), self._versions.get(p) != part._version)

    def _check_jobs(self, jobs: list[Job]) -> None:
        """As `_check_untouched`; and make what is missing of master copies."""
        for group in {id(job.group): job.group for job in jobs}.values():
            of_group = [job for job in jobs if job.group is group]
            self._check_untouched(group, [(job.name, job.p) for job in of_group if job.touched])
            low = [job for job in of_group if job.p.dtype != working_dtype(job.p.dtype)]
            missing = [job for job in low if "master" not in job.state]
            for job in missing:
                job.state["master"] = local(job.p).to(working_dtype(job.p.dtype))
            for job in low:
                job.weight = job.state["master"]
            if missing and manifold_of(group) is not None:
                masters = [(job.name, self.state[job.p]["master"]) for job in missing]
                project_([{**group, "params": masters, "param_names": None}])
        for job in jobs:  # also of those that have no gradient now, so as not to look at them in every step
            self._versions[job.p] = local(job.p)._version

    def _update_jobs(self, jobs: list[Job]) -> None:
        if jobs:
            self.update_sharded_(jobs)
        for job in jobs:
            part = local(job.p)
            if job.weight.dtype != part.dtype:
                part.copy_(job.weight)
            self._versions[job.p] = part._version

    def _check_untouched(self, group: dict[str, Any], touched: list[NamedParameter]) -> None:
        """Look again at parameters that something else than this optimizer has written to, e.g. a loaded checkpoint."""
        manifold = manifold_of(group)
        if touched and manifold is not None:
            check_on_manifold(touched, manifold, kernel_axes_of(group))
        masters = [(name, p) for name, p in touched if "master" in self.state.get(p, {})]
        for name, p in masters:
            master, spread = self.state[p]["master"], self._spread(name, p)
            stale = local(master).to(p.dtype).ne(local(p)).sum()
            if stale if spread is None else added_up([Item(name, stale, spread)], lambda part: part)[0]:
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
                (the state is another optimizer's), a tensor lies on other ranks than its parameter, or a
                geometry's type is not defined in this process. Nothing has been changed then.
        """
        loaded: dict[str, Any] = {}

        def rebuild(_: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
            for i, group in enumerate(state_dict["param_groups"]):
                for setting in self.signature:
                    if setting not in group:
                        raise ValueError(f"group {i} of this state has no '{setting}': another optimizer saved it")
            groups = [self.with_defaults(self.rebuilt(group)) for group in state_dict["param_groups"]]
            self._check_parts(state_dict)
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

    def _check_parts(self, state_dict: dict[str, Any]) -> None:
        """Raise ValueError for a saved state that does not lie on the ranks as its parameter does."""
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=False):
            for (name, p), key in zip(named_parameters(group, "params"), saved["params"], strict=False):
                for entry, value in state_dict["state"].get(key, {}).items():
                    if isinstance(value, Tensor) and value.shape == p.shape and entry != "step":
                        here, there = (local(x).shape for x in (p, value))
                        if here != there or isinstance(p, DTensor) != isinstance(value, DTensor):
                            raise ValueError(
                                f"'{entry}' of {name} does not lie on the ranks as the parameter does: load it with "
                                "torch.distributed.checkpoint, as by set_optimizer_state_dict"
                            )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_replicas": self._replicas}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions, self._spreads = {}, {}
        self.__dict__.setdefault("_replicas", None)
