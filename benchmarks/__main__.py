"""Entry point of `python -m benchmarks`."""

import typer

from benchmarks.commands import distributed, memory, plot, riemannian, scaling, step, train

app = typer.Typer(
    name="benchmarks",
    help="Measure where the library stands. Ratios within one run mean more than its times.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


@app.callback()
def root() -> None:
    """Measure where the library stands. Ratios within one run mean more than its times."""


app.command(epilog=step.EPILOG)(step.step)
app.command(epilog=memory.EPILOG)(memory.memory)
app.command(epilog=scaling.EPILOG)(scaling.scaling)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=plot.EPILOG)(plot.plot)
app.command(epilog=riemannian.EPILOG)(riemannian.riemannian)
app.command(epilog=distributed.EPILOG)(distributed.distributed)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
