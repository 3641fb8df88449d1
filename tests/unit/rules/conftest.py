"""An engine over readings that a test sets, and a list of what fired."""

from __future__ import annotations

import pytest

from tradewatch import rules
from tradewatch.rules import Engine
from tradewatch.runtime.failures import failures

START_NS = 1_700_000_000 * 10**9
S = 10**9


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, speed=1.0):
        self.ns = START_NS
        self.speed = speed

    def now_ns(self):
        return self.ns

    def mono_ns(self):
        return self.ns - START_NS

    def real_seconds(self, seconds):
        return seconds / self.speed


class Values:
    """Readings as a mapping from series to value; counts how often each metric is asked for."""

    def __init__(self, values=None):
        self.values = dict(values or {})
        self.asked = []
        self.broken = None

    def samples(self, names):
        self.asked.append(names)
        if self.broken:
            raise self.broken
        for (name, labels), value in self.values.items():
            if name in names:
                yield (("__name__", name), *labels), value

    def __setitem__(self, key, value):
        name, labels = key if isinstance(key, tuple) else (key, ())
        self.values[name, labels] = value

    def __delitem__(self, name):
        del self.values[name, ()]


class Bench:
    """An engine with a clock, readings and a list of what fired."""

    def __init__(self, text, speed=1.0, **arguments):
        self.clock = SetClock(speed)
        self.readings = Values()
        self.fired = []
        groups = rules.loads(text, "r.yaml") if isinstance(text, str) else text
        self.engine = Engine(groups, self.readings, self.clock, self.on_firing, **arguments)

    def on_firing(self, rule, alert, evidence):
        self.fired.append((rule.name, dict(alert.labels), evidence))

    def tick(self, after_s=0.0):
        self.clock.ns += round(after_s * S)
        return self.engine.tick(self.clock.ns)

    def poke(self, after_s=0.0):
        self.clock.ns += round(after_s * S)
        return self.engine.poke(self.clock.ns)

    def states(self):
        return {status.rule.name: status.state for status in self.engine.status()}

    def names(self):
        return [name for name, _, _ in self.fired]


@pytest.fixture
def new_bench():
    """Makes benches: rules as text or groups, a speed of time, arguments of the engine."""
    return Bench


@pytest.fixture(autouse=True)
def _our_failures_raise(monkeypatch):
    monkeypatch.setattr(failures, "strict", True)


@pytest.fixture
def failures_are_counted(monkeypatch):
    monkeypatch.setattr(failures, "strict", False)
    monkeypatch.setattr(failures, "counts", {})
    return failures.counts
