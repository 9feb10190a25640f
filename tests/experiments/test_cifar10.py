import io
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from modular_manifolds.experiments import cifar10
from modular_manifolds.experiments.data import DataError, DataName, load

REAL = Path(__file__).parents[2].parent / "shared" / "data"


def encode(size=(32, 32), mode="RGB", colour=0, form="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, form)
    return buffer.getvalue()


def write_split(path, images, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"img": [{"bytes": image, "path": None} for image in images], "label": labels})
    pq.write_table(table, path)


def write_folder(folder, images=None, labels=(3, 9)):
    for name in cifar10.FILES.values():
        write_split(folder / name, images or [encode(colour=(255, 0, 0)), encode(colour=(0, 0, 255))], list(labels))


@pytest.mark.parametrize("subfolder", cifar10.SUBFOLDERS)
def test_reads_the_layout_of_the_hub(tmp_path, subfolder):
    write_folder(tmp_path / subfolder)
    data = load(DataName.CIFAR10, tmp_path)
    assert data.train.inputs.shape == (2, 3072)
    assert data.test.labels.tolist() == [3, 9]
    # channels first, each with its own mean and spread: a red image
    expected = [(value - mean) / std for value, mean, std in zip((1, 0, 0), cifar10.MEAN, cifar10.STD, strict=True)]
    for colour, value in zip(data.train.inputs[0].split(1024), expected, strict=True):
        assert torch.allclose(colour, torch.tensor(value), atol=1e-5)


def test_fingerprint_follows_the_pixels(tmp_path):
    write_folder(tmp_path / "a")
    write_folder(tmp_path / "b", images=[encode(colour=(254, 0, 0)), encode(colour=(0, 0, 255))])
    assert load(DataName.CIFAR10, tmp_path / "a").fingerprint != load(DataName.CIFAR10, tmp_path / "b").fingerprint


def test_missing_file_names_it_and_where_it_was_sought(tmp_path):
    write_folder(tmp_path)
    (tmp_path / cifar10.FILES["test"]).unlink()
    with pytest.raises(DataError, match=r"test-00000.*plain_text.*--data-dir"):
        load(DataName.CIFAR10, tmp_path)


def test_truncated_file(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / cifar10.FILES["train"]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"train-00000.*damaged"):
        load(DataName.CIFAR10, tmp_path)


def test_file_that_is_no_parquet(tmp_path):
    write_folder(tmp_path)
    (tmp_path / cifar10.FILES["train"]).write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="no readable parquet"):
        load(DataName.CIFAR10, tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b""], "label": [0]}, r"columns \['image', 'label'\]"),
        ({"img": [b"x"], "label": [0]}, "column img is binary"),
        ({"img": [{"bytes": b"x"}], "label": ["cat"]}, "column label is string"),
        ({"img": [{"bytes": b"x"}], "label": pa.array([None], pa.int64())}, "1 labels are missing"),
    ],
)
def test_wrong_columns(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "file.parquet")
    with pytest.raises(DataError, match=message):
        cifar10.read_split(tmp_path / "file.parquet")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([], [], "columns|no images|column img"),
        ([encode()], [10], "labels run from 10 to 10"),
        ([encode()], [-1], "labels run from -1"),
        ([encode(size=(28, 28))], [0], r"\(28, 28\) RGB"),
        ([encode(mode="L")], [0], r"\(32, 32\) L"),
        ([b"no image"], [0], "row 0: the image cannot be decoded"),
        ([encode(), encode()[:60]], [0, 1], "row 1: the image cannot be decoded"),
        ([None], [0], "row 0: the image cannot be decoded|column img"),
    ],
)
def test_wrong_contents(tmp_path, images, labels, message):
    write_split(tmp_path / "file.parquet", images, labels)
    with pytest.raises(DataError, match=message):
        cifar10.read_split(tmp_path / "file.parquet")


def test_downloads_once_into_the_cache(tmp_path, monkeypatch):
    write_folder(tmp_path / "hub" / "datasets" / "uoft-cs" / "cifar10" / "resolve" / "main" / "plain_text")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", (tmp_path / "hub").as_uri())
    first = load(DataName.CIFAR10)
    assert len(first.train) == 2
    monkeypatch.setenv("HF_ENDPOINT", (tmp_path / "gone").as_uri())
    assert load(DataName.CIFAR10).fingerprint == first.fingerprint


def test_failed_download_says_what_else_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", (tmp_path / "gone").as_uri())
    with pytest.raises(DataError, match=r"could not download.*--data-dir.*--data digits"):
        load(DataName.CIFAR10)


def test_uses_the_hub_client_where_there_is_one(tmp_path, monkeypatch):
    write_folder(tmp_path / "plain_text")
    client = types.ModuleType("huggingface_hub")
    client.hf_hub_download = lambda repo, name, repo_type: str(tmp_path / name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    assert len(load(DataName.CIFAR10).train) == 2


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no CIFAR-10 beside the repository")
def test_reads_the_real_test_images():
    pixels, labels = cifar10.read_split(REAL / "cifar10" / cifar10.FILES["test"])
    assert pixels.shape == (10_000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10
    assert 115 < pixels.mean() < 125
