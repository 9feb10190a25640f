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


@pytest.fixture(scope="session", params=[2, 4])
def gang(request: pytest.FixtureRequest) -> Gang:
    """Of 2, and of 4."""
    found: Gang = request.getfixturevalue(f"gang{request.param}")
    return found
