"""CIFAR-10 in the parquet layout of the Hugging Face hub's `uoft-cs/cifar10`."""

import io
import os
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from modular_manifolds.experiments.data import DataError, DataName, Dataset, Split, fingerprint
from modular_manifolds.experiments.files import write_atomically

REPOSITORY = "uoft-cs/cifar10"
FILES = {"train": "train-00000-of-00001.parquet", "test": "test-00000-of-00001.parquet"}
SUBFOLDERS = (".", "cifar10", "plain_text")
CLASSES = 10
SIZE = (32, 32)
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
"""Of the red, green and blue training pixels, on a scale from 0 to 1."""

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def load(folder: Path | None = None) -> Dataset:
    """CIFAR-10 from `folder` (or its cifar10/ or plain_text/), or from the hub, through a cache, when None.

    Images are normalised as in the blog: every colour to mean 0 and variance 1, channels first, flattened.

    Raises:
        DataError: a file is missing, damaged, or has other columns, labels or image shapes.
    """
    paths = {split: _locate(folder, name) if folder else _fetch(name) for split, name in FILES.items()}
    raw = {split: read_split(path) for split, path in paths.items()}
    return Dataset(
        name=DataName.CIFAR10,
        classes=CLASSES,
        train=_normalise(*raw["train"]),
        test=_normalise(*raw["test"]),
        fingerprint=fingerprint(*(array.tobytes() for arrays in raw.values() for array in arrays)),
    )


def read_split(path: Path) -> tuple[Pixels, Labels]:
    """Images (images, 32, 32, 3) and labels (images,) of one parquet file; DataError if anything is off."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable parquet file (damaged, or cut short?): {error}. Delete it and get it again."
        ) from error
    images, labels = _columns(table, path)
    if len(labels) == 0:
        raise DataError(f"{path} holds no images. Delete it and get it again.")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(
            f"{path}: labels run from {labels.min()} to {labels.max()}, expected 0 to {CLASSES - 1}: "
            f"this is not {REPOSITORY}."
        )
    pixels = np.empty((len(labels), *SIZE, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        pixels[row] = _decode(image.as_py(), f"{path}, row {row}")
    return pixels, labels


def _columns(table: pa.Table, path: Path) -> tuple[pa.Array, Labels]:
    expected = "columns img {bytes, path} and label (integer)"
    names = set(table.column_names)
    if not {"img", "label"} <= names:
        raise DataError(f"{path} has columns {sorted(names)}, expected {expected} as in the hub's {REPOSITORY}.")
    image_type, label_type = table.schema.field("img").type, table.schema.field("label").type
    if not pa.types.is_struct(image_type) or image_type.get_field_index("bytes") < 0:
        raise DataError(f"{path}: column img is {image_type}, expected {expected}.")
    if not pa.types.is_integer(label_type):
        raise DataError(f"{path}: column label is {label_type}, expected {expected}.")
    labels = table.column("label").combine_chunks()
    if labels.null_count:
        raise DataError(f"{path}: {labels.null_count} labels are missing. Delete the file and get it again.")
    return table.column("img").combine_chunks().field("bytes"), labels.to_numpy().astype(np.int64)


def _decode(content: bytes | None, place: str) -> Pixels:
    try:
        image = Image.open(io.BytesIO(content or b""))
        image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{place}: the image cannot be decoded ({error}). Delete the file and get it again.") from error
    if image.size != SIZE or image.mode != "RGB":
        raise DataError(f"{place}: image is {image.size} {image.mode}, expected {SIZE} RGB: not {REPOSITORY}.")
    return np.asarray(image)


def _normalise(pixels: Pixels, labels: Labels) -> Split:
    colours = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    return Split(colours.sub_(mean).div_(std).flatten(1), torch.from_numpy(labels))


def _locate(folder: Path, name: str) -> Path:
    for subfolder in SUBFOLDERS:
        path = folder / subfolder / name
        if path.is_file():
            return path
    raise DataError(
        f"{name} is in none of {', '.join(str(folder / subfolder) for subfolder in SUBFOLDERS)}. Put the "
        f"files of the hub's {REPOSITORY} there, or leave --data-dir away to download them."
    )


def _fetch(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError:
        return _download(name)
    try:
        return Path(hf_hub_download(REPOSITORY, f"plain_text/{name}", repo_type="dataset"))
    except Exception as error:  # whatever the hub's client raises means the same to the user
        raise _unreachable(f"{name} of {REPOSITORY}", error) from error


def _download(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modular-manifolds" / "cifar10"
    path = cache / name
    if path.is_file():
        return path
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    address = f"{endpoint}/datasets/{REPOSITORY}/resolve/main/plain_text/{name}"
    try:
        with urlopen(address, timeout=60) as response:
            write_atomically(path, response.read())
    except (OSError, HTTPException) as error:
        raise _unreachable(address, error) from error
    return path


def _unreachable(source: str, error: Exception) -> DataError:
    return DataError(
        f"could not download {source}: {error}. Run the command again, or fetch "
        f"{' and '.join(FILES.values())} by other means and name their folder with --data-dir, "
        "or use --data digits, which needs no network."
    )
