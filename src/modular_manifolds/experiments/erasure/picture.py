"""The picture that is drawn into a matrix, and how much of it is left."""

import io
from base64 import b64decode, b64encode
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

_SHARE = 0.84
"""Of the matrix's width, or of its height, that the letters fill."""

_THUMBNAIL = 64
_LEVELS = 16
"""Grey levels of a thumbnail: as many as the eye needs in noise, and no more bytes than that takes."""


def ink(letters: str, size: int) -> Bool[Tensor, "size size"]:
    """Where `letters` are, in a square of so many pixels: matplotlib's own bold font, as large as fits."""
    path = TextPath((0, 0), letters, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    scale = _SHARE / max(box.width, box.height)
    centre = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).scale(scale).translate(0.5, 0.5)
    figure = Figure(figsize=(1, 1), dpi=size)
    figure.add_artist(PathPatch(centre.transform_path(path), color="black", linewidth=0))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return torch.from_numpy(drawn[..., 0] < 128)


@dataclass(frozen=True)
class Survival:
    """What is left of a start in which the ink is 0.

    `correlation` is the cosine between the matrix and its start, over all entries. `contrast` is 1 less the root mean
    square of the entries under the ink over that of the others: 1 for blank ink, 0 when nothing can be seen.
    """

    correlation: float
    contrast: float

    @classmethod
    def of(cls, w: Float[Tensor, "m n"], start: Float[Tensor, "m n"], where: Bool[Tensor, "m n"]) -> "Survival":
        """Of the matrix `w` that began as `start`."""
        correlation = torch.cosine_similarity(w.double().flatten(), start.double().flatten(), dim=0)
        squares = w.double().square()
        return cls(float(correlation), float(1 - (squares[where].mean() / squares[~where].mean()).sqrt()))


def thumbnail(w: Float[Tensor, "m n"]) -> str:
    """The sizes of the entries as a small PNG in base64: root mean squares of blocks, white for twice the matrix's."""
    squares = w.double().square()
    blocks = adaptive_avg_pool2d(squares[None], (min(_THUMBNAIL, w.shape[0]), min(_THUMBNAIL, w.shape[1])))[0]
    level = (blocks / squares.mean()).sqrt().div(2).clamp(max=1).mul(_LEVELS - 1).round().div(_LEVELS - 1)
    grey = level.nan_to_num().mul(255).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="png", optimize=True)
    return b64encode(buffer.getvalue()).decode()


def pixels(png: str) -> NDArray[np.uint8]:
    """Of a thumbnail."""
    image: UInt8[np.ndarray, "m n"] = np.asarray(Image.open(io.BytesIO(b64decode(png))))
    return image
