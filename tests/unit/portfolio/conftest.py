"""A clock that stands where a test puts it."""

import pytest

START_NS = 1_790_000_000_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.ns = START_NS
        self.stepped_ns = 0

    def now_ns(self) -> int:
        return self.ns + self.stepped_ns

    def mono_ns(self) -> int:
        return self.ns

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)

    def step_s(self, seconds: float) -> None:
        self.stepped_ns += int(seconds * 1e9)


@pytest.fixture(scope="session")
def clock_class():
    return StillClock


@pytest.fixture
def clock():
    return StillClock()
