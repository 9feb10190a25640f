"""`modular-manifolds plan` and `modular-manifolds certify`: what they print, and how they fail."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from rich.console import Console

from modular_manifolds.cli.conduct import FAILED, print_as_is, print_error
from modular_manifolds.cli.target import Target, TargetError, load_targets
from modular_manifolds.experiments.robustness_runs import RunsError
from modular_manifolds.modular import CaptureError, Rule, UnknownOperationError, certify, modularize

Unknown = Literal["raise"] | float


def run_plan(
    targets: Callable[[], list[Target]],
    masses: Mapping[str, float],
    domain: float,
    floor: float | None,
    unknown: Unknown,
    out: Path | None,
    console: Console,
) -> int:
    """Print the plan of every target, and write it to a file if there is one; the exit status."""

    def one(target: Target) -> None:
        rules = {pattern: Rule(mass=mass) for pattern, mass in masses.items()}
        with console.status(f"reading {target.name}"):
            plan = modularize(target.model, target.example_inputs, rules, domain=domain, floor=floor, unknown=unknown)
        print_as_is(console, str(plan))
        if out is not None:
            plan.save(out)

    return _each(targets, one, out, console)


def run_certify(
    targets: Callable[[], list[Target]],
    domain: float | None,
    unknown: Unknown,
    out: Path | None,
    console: Console,
) -> int:
    """Print the certificate of every target, and write it to a file if there is one; the exit status."""

    def one(target: Target) -> None:
        with console.status(f"certifying {target.name}"):
            certificate = certify(target.model, target.example_inputs, domain, unknown=unknown)
        print_as_is(console, f"{target.name}\n{certificate}\n")
        if out is not None:
            certificate.save(out)

    return _each(targets, one, out, console)


def _each(
    targets: Callable[[], list[Target]], one: Callable[[Target], None], out: Path | None, console: Console
) -> int:
    try:
        found = targets()
        if out is not None and len(found) > 1:
            raise TargetError(f"--out takes one model, and there are {len(found)}; name one weights.safetensors")
        for target in found:
            one(target)
    except (TargetError, RunsError, CaptureError, UnknownOperationError, ValueError, OSError) as error:
        print_error(console, error)
        return FAILED
    if out is not None:
        print_as_is(console, f"written: {out}")
    return 0


__all__ = ["load_targets", "run_certify", "run_plan"]
