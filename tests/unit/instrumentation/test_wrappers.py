"""A wrapper is to its caller what it stands for: its parameters, its errors, its lines in a traceback."""

import asyncio
import inspect
import traceback
from types import SimpleNamespace

import pytest

from tradewatch.instrumentation import patch
from tradewatch.instrumentation.patch import measured, original_of
from tradewatch.runtime.clock import SystemClock
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import Probe

PARAMS = {"kept": 1}


def plain(self, symbol, since=None, params=PARAMS):
    return symbol, since, params


def without_self_named_so(client, symbol="x"):
    return client, symbol


def names_of_the_wrapper_itself(self, live, operation, name="n", original=1, result=2, symbol=None):
    return live, operation, name, original, result, symbol


def of_any_kind(self, *symbols, symbol=None, **params):
    return symbols, symbol, params


def by_name_alone(self, *, symbol, limit=5):
    return symbol, limit


def by_place_alone(self, symbol, /, limit=5):
    return symbol, limit


def without_arguments(*args, **kwargs):
    return args[1:], kwargs


async def awaited(self, symbol, limit=5, params=PARAMS):
    await asyncio.sleep(0)
    return symbol, limit, params


ODD = [of_any_kind, by_name_alone, by_place_alone, without_arguments]
FUNCTIONS = [plain, without_self_named_so, names_of_the_wrapper_itself, awaited, *ODD]
CALLS = [
    ((), {}),
    (("a",), {}),
    (("a", "b"), {}),
    (("a", "b", "c", "d", "e", "f", "g"), {}),
    ((), {"symbol": "a"}),
    (("a",), {"limit": 1}),
    (("a",), {"symbol": "a"}),
    ((), {"nobody": 1}),
]


@pytest.fixture
def client():
    """One that is watched, with the records of its calls."""
    journal = Journal()
    probe = Probe("binance", "main", Cells(), journal, SystemClock())
    probe.operation("it")
    return SimpleNamespace(_tradewatch=SimpleNamespace(operations=probe.operations), reads=journal.reads)


def point(subject_at=None, observed=None):
    return SimpleNamespace(
        begin=lambda *given: pytest.fail("an ordinary call"),
        succeed=None,
        fail=lambda client, live, error: client.reads.append((live.symbol, type(error))),
        operation="it",
        subject_at=subject_at,
        observe=None if observed is None else lambda live, *told: observed.append(told),
    )


def outcome(function, args, kwargs):
    try:
        result = function(*args, **kwargs)
        return asyncio.run(result) if inspect.iscoroutine(result) else result
    except TypeError as error:
        return str(error)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_has_the_parameters_of_what_it_stands_for(function):
    wrapper = measured(function, point())
    assert inspect.signature(wrapper) == inspect.signature(function)
    if function not in ODD:
        assert inspect.signature(wrapper, follow_wrapped=False) == inspect.signature(function)
        assert all(a is b for a, b in zip(wrapper.__defaults__ or (), function.__defaults__ or (), strict=True))
    assert inspect.iscoroutinefunction(wrapper) == inspect.iscoroutinefunction(function)
    assert (wrapper.__name__, wrapper.__qualname__) == (function.__name__, function.__qualname__)
    assert original_of(wrapper) is function


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_it_returns_and_refuses_what_the_original_does(client, function, args, kwargs):
    wrapper = measured(function, point())
    assert outcome(wrapper, (client, *args), kwargs) == outcome(function, (client, *args), kwargs)
    if function not in ODD:
        assert outcome(wrapper, (), {}) == outcome(function, (), {})


@pytest.mark.parametrize(
    ("function", "at", "args", "kwargs"),
    [
        (plain, 1, ("a",), {}),
        (plain, 1, (), {"symbol": "a"}),
        (names_of_the_wrapper_itself, 6, (1, 2), {"symbol": "a"}),
        (by_name_alone, 1, (), {"symbol": "a"}),
        (by_place_alone, 1, ("a",), {}),
        (awaited, 1, ("a", 7), {}),
    ],
)
def test_each_call_is_recorded_with_its_market(client, function, at, args, kwargs):
    observed = []
    result = outcome(measured(function, point(at, observed)), (client, *args), kwargs)
    [live] = client.reads
    assert (live.symbol, live.operation.cell.total) == ("a", 1)
    assert live.end_ns >= live.start_ns > 0
    [(placed, named, seen)] = observed
    assert seen == result
    bound = inspect.signature(function).bind(*placed, **named)
    given = inspect.signature(function).bind(client, *args, **kwargs)
    bound.apply_defaults()
    given.apply_defaults()
    assert bound.arguments == given.arguments


@pytest.mark.parametrize("is_async", [False, True])
def test_a_traceback_shows_lines_that_are_there(client, is_async):
    def fails(self, symbol):
        raise KeyError("why")

    async def fails_later(self, symbol):
        raise KeyError("why")

    wrapper = measured(fails_later if is_async else fails, point(1))
    with pytest.raises(KeyError) as caught:
        asyncio.run(wrapper(client, "a")) if is_async else wrapper(client, "a")
    shown = traceback.extract_tb(caught.value.__traceback__)[-2]
    assert shown.filename == patch.__file__
    assert shown.line == "result = await original(ARGUMENTS)"
    assert caught.value.__context__ is None
    assert list(client.reads) == [("a", KeyError)]


def test_methods_of_the_same_parameters_share_their_code_and_nothing_else(client):
    def one(self, symbol, since=None, params=PARAMS):
        return "one", symbol, since

    def other(self, symbol, since=7, params=PARAMS):
        return "other", symbol, since

    def third(self, market, since=None, params=PARAMS):
        return "third", market, since

    wrappers = [measured(function, point(1)) for function in (one, other, third)]
    assert wrappers[0].__code__ is wrappers[1].__code__ is not wrappers[2].__code__
    found = [wrappers[0](client, "a"), wrappers[1](client, symbol="b"), wrappers[2](client, market="c")]
    assert found == [("one", "a", None), ("other", "b", 7), ("third", "c", None)]
    with pytest.raises(TypeError, match="market"):
        wrappers[0](client, market="c")
