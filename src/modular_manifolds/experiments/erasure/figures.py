"""The figures of a report on erasure."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter

from modular_manifolds.experiments.erasure.findings import Cell, cells
from modular_manifolds.experiments.erasure.picture import pixels, thumbnail
from modular_manifolds.experiments.erasure.setting import Setting
from modular_manifolds.experiments.erasure.study import Finished
from modular_manifolds.experiments.erasure.trial import build, starting_picture
from modular_manifolds.experiments.plots import PLAIN_NUMBERS, SIZE, legend_below, open_axes
from modular_manifolds.experiments.reports import Figure, Table
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.summary import Spread
from modular_manifolds.experiments.svg import INK, STYLE, to_svg

# Colours stand out against a white and a near-black page alike.
_LOOKS: dict[str, dict[str, Any]] = {
    "plain": {"color": "#7c8594", "marker": "o"},
    "adam": {"color": "#e07a1f", "marker": "s"},
    "dualised": {"color": "#0d9488", "marker": "^"},
    "manifold": {"color": "#3b82f6", "marker": "D"},
}
_INCHES = 1.02
"""Side of a picture on the sheet."""


def figures(finished: Finished) -> list[list[Figure]]:
    """A row of figures each for what is shown of every setting, side by side."""
    settings = finished.erasure.settings
    return [[draw(finished, setting) for setting in settings] for draw in (_sheet, _accuracy, _contrast, _ranks)]


def _sheet(finished: Finished, setting: Setting) -> Figure:
    """A column a method, a row a learning rate, the start on top; of the first seed."""
    methods = finished.erasure.methods
    columns = {method: cells(finished, setting, method) for method in methods}
    lrs = [cell.lr for cell in columns[methods[0]]]
    model = build(finished.data.features, finished.erasure.width, finished.data.classes, 0, finished.erasure.where)
    with rc_context(STYLE):
        figure = Drawing(
            figsize=(0.5 + _INCHES * len(methods), 0.3 + 1.17 * _INCHES * (len(lrs) + 1)), layout="constrained"
        )
        axes = figure.subplots(len(lrs) + 1, len(methods), squeeze=False)
        for column, method in enumerate(methods):
            start = thumbnail(starting_picture(method, model))
            _show(axes[0, column], start, "start" if method != "manifold" else "start, projected")
            axes[0, column].set_title(method)
            best = max(columns[method], key=lambda cell: cell.outcomes[0].test_accuracy)
            for row, cell in enumerate(columns[method], start=1):
                first = cell.outcomes[0]
                _show(axes[row, column], first.picture, f"{first.test_accuracy:.1f} %", strong=cell is best)
        for row, label in enumerate(["", *(f"lr {_fraction(lr)}" for lr in lrs)]):
            axes[row, 0].set_ylabel(label, rotation=90, fontsize=8)
        return Figure(
            name=_name("erasure", setting),
            title=f"The middle matrix after training, {setting}",
            caption="Sizes of the entries, averaged over blocks; each picture on its own scale, from black for 0 to "
            "white for twice its root mean square. Below: test accuracy, the best of a column in bold. First seed.",
            drawing=to_svg(figure, _name("erasure", setting), f"The middle matrix after training, {setting}."),
            data=_table(columns),
        )


def _show(axes: Axes, picture: str, label: str, strong: bool = False) -> None:
    axes.imshow(pixels(picture), cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(strong)
        spine.set_linewidth(1.6)
    axes.set_xlabel(label, labelpad=2, fontsize=8, fontweight="bold" if strong else "normal")


def _accuracy(finished: Finished, setting: Setting) -> Figure:
    caption = "Of all test images. Every step moves every layer by lr/3 in the RMS operator norm, with every method."
    return _curve(finished, setting, "test_accuracy", "Test accuracy", "test accuracy (%)", caption)


def _contrast(finished: Finished, setting: Setting) -> Figure:
    caption = (
        "1 less the root mean square of the entries under the ink over that of the others: 1 is blank ink, at 0 "
        "nothing can be seen. Dotted: the projected start of the manifold method."
    )
    return _curve(finished, setting, "contrast", "What is left of the picture", "contrast", caption)


def _curve(finished: Finished, setting: Setting, measure: str, title: str, label: str, caption: str) -> Figure:
    columns = {method: cells(finished, setting, method) for method in finished.erasure.methods}
    with open_axes() as (figure, axes):
        for method, column in columns.items():
            spreads = [cell.spread(measure) for cell in column]
            axes.errorbar(
                [cell.lr for cell in column],
                [spread.mean for spread in spreads],
                yerr=[spread.std for spread in spreads],
                capsize=2.5,
                label=method,
                **_LOOKS[method],
            )
            if measure == "contrast" and method == "manifold":
                start = column[0].outcomes[0].start_contrast
                axes.axhline(start, color=_LOOKS[method]["color"], linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda lr, _: _fraction(lr)))
        axes.set_ylim(0, 1.05 if measure == "contrast" else 100)
        axes.set_xlabel("learning rate")
        axes.set_ylabel(label)
        legend_below(figure, axes)
        return _finish(
            _name(measure.replace("_", "-"), setting), f"{title}, {setting}", caption, figure, _table(columns)
        )


def _ranks(finished: Finished, setting: Setting) -> Figure:
    widths = sorted({start.width for start in finished.ranks})
    of = {
        (name, width): Spread.of(
            ranks[name] for start, ranks in finished.ranks.items() if (start.setting, start.width) == (setting, width)
        )
        for name in _LOOKS
        for width in widths
    }
    with open_axes(SIZE) as (figure, axes):
        axes.plot(widths, widths, color=INK, linewidth=0.8, linestyle=":", label="full")
        for name, look in _LOOKS.items():
            axes.plot(widths, [of[name, width].mean for width in widths], label=name, **look)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_xlabel("width of the hidden layers")
        axes.set_ylabel("stable rank")
        legend_below(figure, axes)
        rows = tuple((width, *(of[name, width].mean for name in _LOOKS)) for width in widths)
        caption = (
            "||.||_F^2 / ||.||_2^2 of the middle matrix's first update; the plain one is the gradient. At "
            f"initialisation, without a picture, a batch of {finished.erasure.batch_size}."
        )
        table = Table(("width", *_LOOKS), rows, "Stable rank of the first update")
        return _finish(_name("ranks", setting), f"Stable rank against width, {setting}", caption, figure, table)


def _table(columns: dict[str, list[Cell]]) -> Table:
    return Table(
        ("method", "lr", "test accuracy, %", "train accuracy, %", "cosine with start", "contrast", "of its start",
         "rank of gradients", "rank of updates", "rank of change"),
        tuple(tuple(plain(_row(cell))) for column in columns.values() for cell in column),
    )  # fmt: skip


def _row(cell: Cell) -> tuple[str | float, ...]:
    measures: Sequence[str] = (
        "test_accuracy", "train_accuracy", "correlation", "contrast", "start_contrast", "gradient_rank", "update_rank",
        "change_rank",
    )  # fmt: skip
    return (cell.method, cell.lr, *(cell.spread(measure).mean for measure in measures))


def _finish(name: str, title: str, caption: str, figure: Drawing, data: Table) -> Figure:
    return Figure(name, title, caption, to_svg(figure, name, f"{title}. {caption}"), data)


def _fraction(lr: float) -> str:
    return f"1/{1 / lr:g}" if lr < 1 and (1 / lr).is_integer() else f"{lr:.3g}"


def _name(what: str, setting: Setting) -> str:
    return f"{what}-{setting.replace(' ', '-')}"
