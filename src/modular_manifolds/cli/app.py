"""The options of `modular-manifolds`, and their checks."""

import math
from collections.abc import Callable, Collection
from fractions import Fraction
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from modular_manifolds.experiments.candidates import CANDIDATES
from modular_manifolds.experiments.constraints import OPTIMIZERS, Start, constraints
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.transfer_defaults import TRANSFER_DEFAULTS
from modular_manifolds.experiments.transfer_methods import METHODS as TRANSFER_METHODS
from modular_manifolds.experiments.transfer_task import TaskName
from modular_manifolds.experiments.transfer_trial import Course

Number = TypeVar("Number", int, float)

app = typer.Typer(
    name="modular-manifolds",
    help="Train neural networks with every weight on a manifold.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

_GEOMETRIES_EPILOG = """
Examples:

    [bold]modular-manifolds geometries --candidates "Stiefel x Spectral,Sphere x Frobenius"[/]

    [bold]modular-manifolds geometries --data cifar10 --data-dir data --widths 64,32 --epochs 3 --search-epochs 1[/]

Stopped half-way? The same command with the same --out carries on.
"""

_SOFTEN_EPILOG = """
Examples:

    [bold]modular-manifolds soften[/]

    [bold]modular-manifolds soften --data cifar10 --data-dir data --optimizer sgd --kappas 0,1,100 --lrs 0.1,0.3[/]

Stopped half-way? The same command with the same --out carries on.
"""

_ROBUSTNESS_EPILOG = """
Examples:

    [bold]modular-manifolds robustness runs/compare-digits[/]

    [bold]modular-manifolds robustness runs/muon runs/adamw --data-dir data --images 500 --radii 36/255,0.5[/]
"""

_TRANSFER_EPILOG = """
Examples:

    [bold]modular-manifolds transfer --widths 32,64,128,256 --depths none[/]

    [bold]modular-manifolds transfer --data cifar10 --data-dir data --workers 4[/]

    [bold]modular-manifolds transfer --data text --file shakespeare.txt --widths 32,64 --depths 2,4[/]

Stopped half-way? The same command with the same --out carries on. So does one with more widths, seeds or methods.
"""

_EPILOG = """
Examples:

    [bold]modular-manifolds compare[/]

    [bold]modular-manifolds compare --data cifar10 --methods manifold-muon,muon --lrs 0.03,0.1 --seeds 3[/]

Stopped half-way? The same command with the same --out carries on.
"""


def _by_data(setting: str) -> str:
    """For a help text: the default of `setting` on every data set."""
    values = {name: getattr(defaults, setting) for name, defaults in DEFAULTS.items()}
    shown = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}
    return "Default: " + ", ".join(f"{value} on {name}" for name, value in shown.items()) + "."


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modular-manifolds {installed_version('modular-manifolds')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train neural networks with every weight on a manifold."""


@app.command(epilog=_EPILOG)
def compare(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Read CIFAR-10's two parquet files from this folder instead, or from its cifar10/ or plain_text/.",
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(METHODS)}.", show_default="all")
    ] = ",".join(METHODS),
    lrs: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Learning rates for every method. Default: three of each method's own."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9999,
            help="Of the methods on a manifold (above 0, Nesterov's). Default: 0, as in the blog. "
            "muon and adamw keep what they ship with.",
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/compare-DATA."),
    ] = None,
) -> None:
    """Train the same network with several methods, each over a few learning rates and seeds, and report.

    Writes results.json, report.html, plots, TensorBoard logs and the trained weights into --out.
    """
    from modular_manifolds.cli.compare import run_comparison
    from modular_manifolds.experiments.comparison import Comparison

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    chosen = _methods(methods)
    if momentum is not None and all(METHODS[name].geometry is None for name in chosen):
        raise typer.BadParameter(f"none of {', '.join(chosen)} takes it", param_hint="--momentum")
    comparison = Comparison(
        data=data,
        data_dir=data_dir,
        methods=chosen,
        lrs=None if lrs is None else _numbers(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        momentum=momentum or 0.0,
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"compare-{data}",
    )
    raise typer.Exit(run_comparison(comparison, Console()))


@app.command(epilog=_SOFTEN_EPILOG)
def soften(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help=f"As torch ships it, of the raw weights: {', '.join(OPTIMIZERS)}.")
    ] = "muon",
    kappas: Annotated[
        str,
        typer.Option(metavar="X,Y", help="Constants of the soft constraint; 0 is the hardest, large ones are free."),
    ] = "0,0.1,1,10,100",
    lrs: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Learning rates for every constraint. Default: three of the optimizer's own."),
    ] = None,
    start: Annotated[
        Start, typer.Option(help="Where raw weights begin: on the manifold, or as PyTorch initialises them.")
    ] = Start.MANIFOLD,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/soften-DATA-OPTIMIZER."),
    ] = None,
) -> None:
    """Train with weights free, softly drawn to the Stiefel manifold, and held on it; say whether they oscillate.

    The soft constraint is W_eff = (1 - a) W + a Pi(W) with a = 1 / (1 + kappa dist(W)^2). Writes results.json, plots,
    TensorBoard logs, and every run's weights and distances step by step into --out.
    """
    from modular_manifolds.cli.soften import run_softening
    from modular_manifolds.experiments.softening import Softening

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    if optimizer not in OPTIMIZERS:
        raise typer.BadParameter(f"{optimizer} is unknown; there are {', '.join(OPTIMIZERS)}", param_hint="--optimizer")
    pulls = _numbers(kappas, float, "--kappas", zero=True)
    softening = Softening(
        data=data,
        data_dir=data_dir,
        methods=tuple(constraints(optimizer, pulls, start)),
        lrs=OPTIMIZERS[optimizer].lrs if lrs is None else _numbers(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        momentum=OPTIMIZERS[optimizer].momentum(0.0),
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"soften-{data}-{optimizer}",
        optimizer=optimizer,
        kappas=pulls,
        start=start,
    )
    raise typer.Exit(run_softening(softening, Console()))


@app.command(epilog=_GEOMETRIES_EPILOG)
def geometries(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    candidates: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(CANDIDATES)}.", show_default="all")
    ] = ",".join(CANDIDATES),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 1; seed 0 chooses learning rates.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    search_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the trials that choose learning rates. Default: as many as --epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/geometries-DATA."),
    ] = None,
) -> None:
    """Try every manifold and norm on every layer of a network, and say which trains best where.

    One layer at a time has the candidate, at a learning rate chosen on held-out images; then all layers have it; then
    each layer has its best one. Takes minutes on digits and hours on cifar10, for the pairs without a closed form.
    Writes results.json, tables.md and a figure into --out.
    """
    from modular_manifolds.cli.geometries import run_geometries
    from modular_manifolds.experiments.study import Study

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    epochs = epochs or defaults.epochs
    study = Study(
        data=data,
        data_dir=data_dir,
        candidates=_names(candidates, CANDIDATES, "--candidates"),
        seeds=seeds,
        epochs=epochs,
        search_epochs=search_epochs or epochs,
        batch_size=batch_size or defaults.batch_size,
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"geometries-{data}",
    )
    raise typer.Exit(run_geometries(study, Console()))


@app.command(epilog=_ROBUSTNESS_EPILOG)
def robustness(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", exists=True, file_okay=False, help="What compare wrote (--out)."),
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    radii: Annotated[
        str, typer.Option(metavar="X,Y", help="Euclidean lengths of the changes, pixels being from 0 to 1.")
    ] = "36/255,72/255,108/255",
    images: Annotated[int, typer.Option(min=1, help="How many test images to attack, from the first.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an attack.")] = 100,
    restarts: Annotated[int, typer.Option(min=1, help="How often an attack is begun anew.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything written. Default: DIR/robustness.")
    ] = None,
) -> None:
    """Say which changes to an image trained networks provably withstand, and which an attack succeeds with.

    Takes every method's best learning rate with all seeds from one or more folders of compare. A decision is certified
    up to margin / (sqrt(2) L), L the network's Lipschitz constant from pixels to logits; projected gradient descent
    attacks it. Writes robustness.json and a figure into --out. Minutes on cifar10. Exit status 3 means that an attack
    changed a certified decision, which a right certificate rules out.
    """
    from modular_manifolds.cli.robustness import run_robustness
    from modular_manifolds.experiments.robustness import Robustness

    measured = Robustness(
        folders=tuple(folders),
        data_dir=data_dir,
        radii=_numbers(radii, _ratio, "--radii"),
        images=images,
        steps=steps,
        restarts=restarts,
        threads=threads,
        out=out or folders[0] / "robustness",
    )
    raise typer.Exit(run_robustness(measured, Console()))


def _ratio(given: str) -> float:
    return float(Fraction(given))


@app.command(epilog=_TRANSFER_EPILOG)
def transfer(
    data: Annotated[
        TaskName,
        typer.Option(help="Multilayer perceptrons on digits or cifar10, or small GPTs on the characters of a text."),
    ] = TaskName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The text. Default: Python's own standard library."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(TRANSFER_METHODS)}.", show_default="all")
    ] = ",".join(TRANSFER_METHODS),
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Widths to sweep, smallest first, or none. Default: 32 and up.")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Depths to sweep, smallest first, or none. Default: 2,4,8,16.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Of the networks whose depth is swept. Default: 64.")] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=1, help="Of those whose width is swept. Default: 3 linear layers, or 2 blocks on text."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of a run. Default: 100, or 200 on text.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default: 128, 256 on cifar10, 8 on text.")] = None,
    reach: Annotated[
        int, typer.Option(min=1, help="Learning rates to try on either side of the best one, a factor of 2 apart.")
    ] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch, in every process.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/transfer-DATA."),
    ] = None,
) -> None:
    """Find the best learning rate at every width and depth, and say how far it moves, beside AdamW's and Muon's.

    Takes about half an hour of one core on digits. Writes results.json, tables.md and a figure into --out.
    """
    from modular_manifolds.cli.transfer import run_study
    from modular_manifolds.experiments.transfer import Transfer

    defaults = TRANSFER_DEFAULTS[data]
    if data_dir is not None and data is not TaskName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no such files", param_hint="--data-dir")
    if file is not None and data is not TaskName.TEXT:
        raise typer.BadParameter(f"is for text only, not for {data}", param_hint="--file")
    course = defaults.course
    study = Transfer(
        data=data,
        data_dir=data_dir,
        file=file,
        methods=_names(methods, TRANSFER_METHODS, "--methods"),
        widths=defaults.widths if widths is None else _sizes(widths, "--widths"),
        depths=defaults.depths if depths is None else _sizes(depths, "--depths"),
        course=Course(
            width=width or course.width,
            depth=depth or course.depth,
            steps=steps or course.steps,
            batch_size=batch_size or course.batch_size,
        ),
        reach=reach,
        seeds=seeds,
        threads=threads,
        workers=workers,
        out=out or Path("runs") / f"transfer-{data}",
    )
    if not study.families:
        raise typer.BadParameter("there are neither widths nor depths to sweep", param_hint="--widths, --depths")
    raise typer.Exit(run_study(study, Console()))


def _methods(given: str) -> tuple[str, ...]:
    return _names(given, METHODS, "--methods")


def _names(given: str, known: Collection[str], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}",
            param_hint=option,
        )
    return names


def _numbers(given: str, kind: Callable[[str], Number], option: str, *, zero: bool = False) -> tuple[Number, ...]:
    try:
        numbers = tuple(dict.fromkeys(kind(number) for number in given.split(",")))
    except (ValueError, ArithmeticError):
        numbers = ()
    if not numbers or not all(0 < number < math.inf or (zero and number == 0) for number in numbers):
        kinds = "positive numbers or 0" if zero else "positive numbers"
        raise typer.BadParameter(f"{given!r} is no list of {kinds} with commas between", param_hint=option)
    return numbers


def _sizes(given: str, option: str) -> tuple[int, ...]:
    return () if given == "none" else _numbers(given, int, option)


_PLAN_EPILOG = """
Examples:

    [bold]modular-manifolds plan mypackage.models:make_gpt --shape 1x64 --tokens --mass "blocks=5"[/]

    [bold]modular-manifolds plan runs/compare-digits[/]

The factory takes no arguments and returns a torch.nn.Module, or (module, example_inputs).
"""

_CERTIFY_EPILOG = """
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


@app.command(epilog=_PLAN_EPILOG)
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

    masses = dict(map(_pair, mass or []))
    least = None if floor == "none" else _numbers(floor, float, "--floor")[0]
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


@app.command(epilog=_CERTIFY_EPILOG)
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


def _pair(given: str) -> tuple[str, float]:
    pattern, _, number = given.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not pattern or not 0 <= value < math.inf:
        raise typer.BadParameter(f"{given!r} is not of the form PATTERN=NUMBER", param_hint="--mass")
    return pattern, value


_TIGHTNESS_EPILOG = """
Examples:

    [bold]modular-manifolds tightness[/]

    [bold]modular-manifolds tightness --data cifar10 --data-dir data --depths 3,6 --methods manifold-muon,muon,adamw[/]

Stopped half-way? The same command with the same --out carries on. So does one with more depths, seeds or methods.
"""


@app.command(epilog=_TIGHTNESS_EPILOG)
def tightness(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"What trains the networks, of: {', '.join(METHODS)}.")
    ] = "manifold-muon,adamw",
    depths: Annotated[str, typer.Option(metavar="N,M", help="Numbers of weight matrices.")] = "3,6,12,24",
    width: Annotated[int, typer.Option(min=1, help="Of every hidden layer.")] = 64,
    lrs: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Learning rates for every method. Default: three of each method's own."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: 30 on digits, 10 on cifar10.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    effort: Annotated[float, typer.Option(min=0.01, max=1000, help="Search so many times as long.")] = 1.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/tightness-DATA."),
    ] = None,
) -> None:
    """Say how much larger the proved Lipschitz bound is than the largest stretch that can be found, by depth.

    Of ReLU networks without biases, trained and at their start: every method at its learning rate of highest test
    accuracy. Takes about a quarter of an hour of one core on digits. Writes results.json, tables.md and a figure into
    --out. Exit status 3 means that a stretch was measured above the bound, which a right bound rules out.
    """
    from modular_manifolds.cli.tightness import run_study
    from modular_manifolds.experiments.tightness import EPOCHS, Tightness

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    study = Tightness(
        data=data,
        data_dir=data_dir,
        methods=_methods(methods),
        depths=_numbers(depths, int, "--depths"),
        width=width,
        lrs=None if lrs is None else _numbers(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or EPOCHS[data],
        batch_size=batch_size or defaults.batch_size,
        effort=effort,
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"tightness-{data}",
    )
    raise typer.Exit(run_study(study, Console()))
