"""The report on erasure, as a page."""

from modular_manifolds.experiments.erasure.figures import figures
from modular_manifolds.experiments.erasure.findings import best, headline, sentences
from modular_manifolds.experiments.erasure.study import Finished
from modular_manifolds.experiments.erasure.updates import METHODS
from modular_manifolds.experiments.reports import Finding, Page, Section, Table
from modular_manifolds.experiments.results import plain

_ABOUT = (
    "A picture is drawn into the middle one of a network's three weight matrices: under the ink, entries are 0. The "
    "network is then trained to tell images apart. If training changes every entry a little, the picture is still "
    "there afterwards; it looks as if the weights had hardly learnt anything. After J. Bernstein's experiment in the "
    "documentation of modula, which repeats Jesus et al. (arXiv 2012.02550).",
    "Every method moves every layer by the same length in a step, lr/3 in the RMS operator norm. Only the shape of the "
    "update differs. A gradient is close to rank one: all its length lies in a few directions, so that single entries "
    "hardly change. msign gives the same length to every direction, and every entry its share.",
    "On the manifold all singular values are equal, which a matrix with a picture in it does not have. Its start is "
    "the nearest one that has: a fainter picture.",
)
_PUBLISHED = (
    "As published, the code draws the index of an image below the number of features instead of the number of images, "
    "so that only the first images are ever seen, and learnt by heart; and pixels run from 0 to 1, so that every image "
    "is close to the mean image and gradients are closer to rank one than they need be. The corrected version draws "
    "from all images and takes the mean image off."
)


def page(finished: Finished) -> Page:
    """What was found, as it is to be shown."""
    erasure = finished.erasure
    sheets, accuracy, contrast, ranks = figures(finished)
    described = [Section(f"In words, {setting}", tuple(sentences(finished, setting))) for setting in erasure.settings]
    return Page(
        recipe="erasure",
        subject=f"{finished.data.name}, width {erasure.width}",
        headline=headline(finished),
        findings=tuple(
            Finding(f"{cell.left:.0%}", f"of the picture left by {method} updates at lr {cell.lr:g}, their best")
            for method, cell in best(finished, erasure.settings[0]).items()
        ),
        sections=(
            Section(
                "What one sees", (*_ABOUT, *((_PUBLISHED,) if len(erasure.settings) > 1 else ())), figures=(*sheets,)
            ),
            *described,
            Section("At every learning rate", tables=(best_table(finished),), figures=(*accuracy, *contrast)),
            Section(
                "Why: the rank of updates",
                ("An update of stable rank r and spectral norm s has entries of about s sqrt(r / (m n)).",),
                figures=(*ranks,),
            ),
        ),
        settings=(
            ("data", str(finished.data.name)),
            ("network", f"{finished.data.features}-{erasure.width}-{erasure.width}-{finished.data.classes}, ReLU"),
            ("start", "semi-orthogonal, of RMS operator norm 1"),
            ("loss", "mean square to one-hot labels"),
            ("steps", f"{erasure.steps} at a constant learning rate, in batches of {erasure.batch_size}"),
            ("picture", erasure.letters),
            *((method, METHODS[method].summary) for method in erasure.methods),
            ("seeds", str(erasure.seeds)),
        ),
        command=erasure.command(),
    )


def best_table(finished: Finished) -> Table:
    """Every method at its best learning rate."""
    columns = (
        "setting", "method", "lr", "test accuracy, %", "train accuracy, %", "picture left, %", "cosine with start",
        "rank of gradients", "rank of updates",
    )  # fmt: skip
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            str(setting),
            method,
            cell.lr,
            *(cell.spread(name).mean for name in ("test_accuracy", "train_accuracy")),
            100 * cell.left,
            *(cell.spread(name).mean for name in ("correlation", "gradient_rank", "update_rank")),
        )
        for setting in finished.erasure.settings
        for method, cell in best(finished, setting).items()
    )
    return Table(
        columns, tuple(tuple(plain(row)) for row in rows), "Every method at its learning rate of highest test accuracy"
    )
