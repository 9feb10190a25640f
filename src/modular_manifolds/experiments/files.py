"""Files that are whole or absent, and that show when they were damaged since."""

import os
from hashlib import sha256
from pathlib import Path

_DIGEST_BYTES = sha256().digest_size


class DamagedFileError(ValueError):
    """A file's contents are not what was written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename: a reader, or a killed writer, never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content` atomically with its SHA-256 before it."""
    write_atomically(path, sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes:
    """Contents of a file of `write_sealed`; DamagedFileError if they do not match their digest."""
    sealed = path.read_bytes()
    digest, content = sealed[:_DIGEST_BYTES], sealed[_DIGEST_BYTES:]
    if sha256(content).digest() != digest:
        raise DamagedFileError(f"{path} is damaged")
    return content
