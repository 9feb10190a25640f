"""The options of `modular-manifolds plan` and `modular-manifolds certify`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import numbers_of, pair

PLAN_EPILOG = """
Examples:

    [bold]modular-manifolds plan mypackage.models:make_gpt --shape 1x64 --tokens --mass "blocks=5"[/]

    [bold]modular-manifolds plan runs/compare-digits[/]

The factory takes no arguments and returns a torch.nn.Module, or (module, example_inputs).
"""

CERTIFY_EPILOG = """
Examples:

    [bold]modular-manifolds certify runs/compare-cifar10[/]

    [bold]modular-manifolds certify mypackage.models:make_gpt --weights gpt.safetensors --shape 1x64x128 --domain 1[/]

The factory takes no arguments and returns a torch.nn.Module, or (module, example_inputs).
"""

_SHAPE = typer.Option(metavar="NxM", help="Shape of one input, e.g. 1x784. Default: what the factory returns.")

_TOKENS = typer.Option("--tokens", help="Inputs are whole numbers, such as tokens.")

_WEIGHTS = typer.Option(exists=True, dir_okay=False, help="State dict to load: .safetensors, or .pt of tensors alone.")

_UNKNOWN = typer.Option(
    min=0, help="Sensitivity to take, as an estimate, for operations without a rule. Default: that is an error."
)


def plan(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="package.module:factory, or a folder or weights that compare wrote.")
    ],
    shape: Annotated[str | None, _SHAPE] = None,
    tokens: Annotated[bool, _TOKENS] = False,
    weights: Annotated[Path | None, _WEIGHTS] = None,
    mass: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN=X", help="Mass of modules, or parameters, by path; may be given several times."),
    ] = None,
    domain: Annotated[float, typer.Option(min=0, help="Bound on the inputs' root mean square.")] = 1.0,
    floor: Annotated[
        str, typer.Option(metavar="X", help="Declared root mean square of what enters normalisations, or none.")
    ] = "1",
    unknown: Annotated[float | None, _UNKNOWN] = None,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the plan to this JSON file, too.")] = None,
) -> None:
    """Say which manifold, norm and share of the learning rate every parameter of a model gets."""
    from modular_manifolds.cli.plan import load_targets, run_plan

    masses = dict(map(pair, mass or []))
    least = None if floor == "none" else numbers_of(floor, float, "--floor")[0]
    status = run_plan(
        lambda: load_targets(model, shape, tokens, weights),
        masses,
        domain,
        least,
        "raise" if unknown is None else unknown,
        out,
        Console(),
    )
    raise typer.Exit(status)


def certify(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="package.module:factory, or a folder or weights that compare wrote.")
    ],
    shape: Annotated[str | None, _SHAPE] = None,
    tokens: Annotated[bool, _TOKENS] = False,
    weights: Annotated[Path | None, _WEIGHTS] = None,
    domain: Annotated[
        float | None,
        typer.Option(
            min=0, help="Bound on the inputs' root mean square, per token or sample.", show_default="all inputs"
        ),
    ] = None,
    unknown: Annotated[float | None, _UNKNOWN] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the certificate to this JSON file, too.")
    ] = None,
) -> None:
    """Prove how much a model, with its present weights, can stretch its input, layer by layer."""
    from modular_manifolds.cli.plan import load_targets, run_certify

    status = run_certify(
        lambda: load_targets(model, shape, tokens, weights),
        domain,
        "raise" if unknown is None else unknown,
        out,
        Console(),
    )
    raise typer.Exit(status)
