import pytest

from modular_manifolds.experiments.files import DamagedFileError, read_sealed, write_atomically, write_sealed


def test_replaces_a_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"?" + b[41:]])
def test_a_seal_shows_damage(tmp_path, damage):
    path = tmp_path / "file"
    write_sealed(path, b"a content of some length")
    assert read_sealed(path) == b"a content of some length"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError):
        read_sealed(path)
