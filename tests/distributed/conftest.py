"""Processes that tests of several ranks share."""

from collections.abc import Iterator

import pytest

from tests.distributed.gang import Gang


@pytest.fixture(scope="session")
def gang2() -> Iterator[Gang]:
    gang = Gang(2)
    yield gang
    gang.end()


@pytest.fixture(scope="session")
def gang4() -> Iterator[Gang]:
    gang = Gang(4)
    yield gang
    gang.end()


@pytest.fixture(scope="session")
def gang8() -> Iterator[Gang]:
    gang = Gang(8)
    yield gang
    gang.end()
