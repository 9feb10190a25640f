"""A plan as a table that a person reads."""

from typing import Any

from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Product, Stiefel
from modular_manifolds.norms import Blockwise, ConvOperator, Norm, TransposedRMSOperator
from modular_manifolds.text_table import headed

_HEADER = ("parameter", "shape", "manifold", "norm", "mass", "sensitivity", "budget", "free", "removed", "", "gauge")


def table(plan: Any) -> str:
    """One line a parameter, totals, and what is proved and what is estimated."""
    lines = [_HEADER]
    free = numbers = 0
    for entry in plan.values():
        count = entry._matrix().numel()
        free, numbers = free + entry.dimension, numbers + count
        lines.append(
            (
                entry.name,
                " x ".join(map(str, entry.shape)) or "scalar",
                manifold_name(entry.geometry.manifold),
                norm_name(entry.geometry.norm),
                f"{entry.mass:.4g}",
                f"{entry.sensitivity:.4g}",
                f"{entry.budget:.4g}",
                f"{entry.dimension:,}",
                f"{100 * entry.removed:.1f} %",
                "proved" if entry.proved else "estimated",
                entry.gauge,
            )
        )
    removed = 1 - free / numbers if numbers else 0.0
    lines.append(
        ("total", f"{numbers:,}", "", "", f"{plan.mass:.4g}", "", "", f"{free:,}", f"{100 * removed:.1f} %", "", "")
    )
    text = headed(lines, right={4, 5, 6, 7, 8})
    proved = sum(entry.proved for entry in plan.values())
    word = "proved" if plan.proved else "estimated"
    text += (
        f"\n\n{proved} of {len(plan)} sensitivities are proved. For inputs of root mean square at most {plan.domain:g},"
        f"\nan update of modular norm 1 changes the output by at most {plan.stretch:.4g}, and the input reaches it "
        f"stretched by at most {plan.sensitivity:.4g} ({word})."
    )
    if plan.gauges():
        whole = sum(gauge.function.dimension for gauge in plan.gauges())
        kept = sum(gauge.kept.dimension for gauge in plan.gauges())
        text += (
            f"\nThe gauge group, which leaves the function as it is, has {whole:,} dimensions, and {kept:,} where it "
            "also\nkeeps manifolds and lengths."
        )
    shared = [f"  {entry.name}: {'; '.join(entry.uses)}" for entry in plan.values() if len(entry.uses) > 1]
    if shared:
        text += "\nUsed more than once, with one budget for the sum of the sensitivities:\n" + "\n".join(shared)
    if plan.notes:
        text += "\nEstimated:\n" + "\n".join(f"  {note}" for note in plan.notes)
    return text


def manifold_name(manifold: Manifold) -> str:
    """A short name: Stiefel(0.5), 12 Stiefel(0.25), ..."""
    if isinstance(manifold, Product):
        first = manifold.factors[0]
        alike = all(factor == first for factor in manifold.factors)
        return f"{len(manifold.factors)} {manifold_name(first)}" if alike else str(manifold)
    if isinstance(manifold, Stiefel):
        return f"Stiefel({manifold.radius:.4g})"
    if isinstance(manifold, Oblique):
        return f"Oblique({manifold.axis}, {manifold.radius:.4g})"
    return "free" if isinstance(manifold, Euclidean) else str(manifold)


def norm_name(norm: Norm) -> str:
    """A short name."""
    if isinstance(norm, Blockwise):
        first = norm.parts[0][0]
        alike = all(part == first for part, _ in norm.parts)
        weighted = len({weight for _, weight in norm.parts}) > 1
        return f"max of {len(norm.parts)} {norm_name(first)}{', weighted' if weighted else ''}" if alike else str(norm)
    if isinstance(norm, ConvOperator):
        return f"{norm.taps} RMSOperator a tap"
    return "RMSOperator^T" if isinstance(norm, TransposedRMSOperator) else type(norm).__name__
