"""From a model to its plan."""

from math import fsum, isfinite
from typing import Any

from torch import nn

from modular_manifolds.modular.defaults import choose, tables_like_others
from modular_manifolds.modular.gauges import gauges_of
from modular_manifolds.modular.graph import Graph
from modular_manifolds.modular.overrides import given_geometries, given_masses, own_geometries, own_leaves
from modular_manifolds.modular.plan import Entry, Plan
from modular_manifolds.modular.reading import (
    Reading,
    Rules,
    check_domain,
    check_floor,
    check_unknown,
    declarations,
    read,
)
from modular_manifolds.modular.rule import Weights
from modular_manifolds.modular.shares import Share, share_of
from modular_manifolds.modular.sweep import Setting, Sweep, Unknown, natural, sweep
from modular_manifolds.modular.uses import UnitWeights, uses_of
from modular_manifolds.modular.weights import Planned


def modularize(
    model: nn.Module,
    example_inputs: tuple[Any, ...],
    rules: Rules | None = None,
    *,
    domain: float = 1.0,
    floor: float | None = 1.0,
    unknown: Unknown = "raise",
) -> Plan:
    """Plan every parameter's geometry and its share of one global learning rate.

    The model is captured by torch.export, in evaluation mode, and not changed. One sweep forwards bounds activations,
    one backwards finds how sensitive the output is to each (Large et al., arXiv 2405.14813, by its closed form:
    budget = mass / total mass / sensitivity of everything after). Activations are measured by the largest root mean
    square over tokens, pixels and attention heads.

    Args:
        model: any module.
        example_inputs: a tuple of positional inputs. Only shapes and dtypes matter.
        rules: what to do otherwise, by module path or parameter name (a pattern, e.g. "blocks.*.attn"), by type of
            module, or by operator: each a `Rule`, or a function as for `register_rule`. Later ones win.
        domain: bound on floating-point inputs, each measured as what reads it does: a vector or token by its root mean
            square, an image by its largest pixel's.
        floor: a declared lower bound on the root mean square of what enters LayerNorm, RMSNorm and GroupNorm, whose
            slope is its inverse; such sensitivities are estimates. None: the slope is 1/sqrt(eps), proved, and often
            useless.
        unknown: "raise" for operations without a rule, or the sensitivity to take, as an estimate, for each.

    Raises:
        CaptureError: torch.export could not capture the model.
        UnknownOperationError: an operation has no rule, and `unknown` is "raise".
        ValueError: a trainable parameter does not reach the output, a sensitivity is infinite, a setting is out of
            range, or an entry of `rules` matches nothing or says what cannot be said of its key.
        TypeError: example_inputs is no tuple.
    """
    rules = dict(rules or {})
    check_domain(domain)
    check_floor(floor)
    check_unknown(unknown)
    reading = read(model, example_inputs, rules)
    graph = reading.graph
    spaces = {node: natural(node, reading.wanted.get(node)) for node in graph.inputs}

    def run(weights: Weights) -> Sweep:
        bounds = dict.fromkeys(graph.inputs, domain)
        given, declared = reading.rules, reading.declared
        setting = Setting(weights, bounds, spaces, reading.wanted, given, declared, unknown, floor, unit=True)
        return sweep(graph, setting)

    overrides = {**own_geometries(model), **given_geometries(model, rules)}
    first = run(UnitWeights())
    chosen = {p.name: overrides.get(p.name) or choose(p, uses_of(p, graph, first), first) for p in graph.parameters}
    chosen |= {name: g for name, g in tables_like_others(graph, chosen).items() if name not in overrides}
    final = run(Planned(chosen))
    leaves = {p.name: share_of(p, graph, final, chosen[p.name], p.name in overrides) for p in graph.parameters}
    own = {name: leaf.mass for name, leaf in own_leaves(model)}
    masses = given_masses(model, {name: own.get(name, leaf.mass) for name, leaf in leaves.items()}, rules)
    return _plan(model, reading, final, leaves, masses, domain)


def _plan(
    model: nn.Module, reading: Reading, swept: Sweep, leaves: dict[str, Share], masses: dict[str, float], domain: float
) -> Plan:
    graph, declared = reading.graph, reading.declared
    total = fsum(masses.values())
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    notes = (*_notes(graph, swept), *declarations(declared))
    geometries = {name: leaf.geometry for name, leaf in leaves.items()}
    gauges, texts = gauges_of(graph, geometries, {name: tuple(params[name].shape) for name in leaves})
    entries = {}
    for name, p in params.items():
        leaf = leaves.get(name)
        mass = masses.get(name, 0.0)
        if leaf is None or (not leaf.uses and mass):
            raise ValueError(
                f"{name} of shape {tuple(p.shape)} does not reach the output for these example inputs; leave it out "
                f"with rules={{{name!r}: mm.Rule(mass=0)}}, or freeze it with requires_grad_(False)"
            )
        if mass and not isfinite(leaf.sensitivity):
            raise ValueError(
                f"the output's sensitivity to {name} is not bounded: {_culprit(graph, swept)}. Its budget would be 0"
            )
        budget = mass / total / leaf.sensitivity if mass and leaf.sensitivity else 0.0
        if mass and not leaf.sensitivity:
            raise ValueError(
                f"{name} does not move the output: its budget would be infinite; give it mass 0 in `rules`"
            )
        entries[name] = Entry(
            name,
            tuple(p.shape),
            leaf.geometry,
            mass,
            leaf.sensitivity,
            budget,
            leaf.input_bound,
            leaf.proved,
            leaf.uses,
            texts[name],
        )
    whole = sum(swept.sensitivity[node] for node in graph.inputs)
    proved = all(swept.proved[node] for node in graph.inputs)
    return Plan(entries, domain, whole, proved, notes, params, gauges)


def _notes(graph: Graph, swept: Sweep) -> tuple[str, ...]:
    """Everything that is not proved, once for each kind of place."""
    seen: dict[str, int] = {}
    for node in graph.nodes:
        state = swept.states.get(node)
        if state is None or state.effect.proved:
            continue
        effect = state.effect
        kind = node.modules[-1][1].rpartition(".")[2] if node.modules else "the model"
        # an attention's numbers differ from layer to layer
        reason = effect.reason.partition(":")[0] if effect.reason.startswith("attention") else effect.reason
        text = f"{node.op} in {kind}: {reason}" + (f" ({effect.cure})" if effect.cure else "")
        seen[text] = seen.get(text, 0) + 1
    return tuple(f"{text}, {count} times" if count > 1 else text for text, count in seen.items())


def _culprit(graph: Graph, swept: Sweep) -> str:
    for node in reversed(graph.nodes):
        state = swept.states.get(node)
        if state and any(not isfinite(slope.factor) for slope in state.effect.slopes):
            return f"{node.place}: {state.effect.reason}; {state.effect.cure}"
    return "the product of the sensitivities overflows"
