"""Our own failures: counted each time, logged once a minute a place, raised in tests."""

import logging

import pytest

from tradewatch.runtime.failures import Failures, describe


def test_a_failure_ends_there_is_counted_and_logged_once(caplog):
    failures = Failures()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with failures.kept("somewhere"):
                raise RuntimeError("no")
    assert failures.counts == {"somewhere": 3}
    assert [r.message for r in caplog.records] == [
        "somewhere failed: RuntimeError: no (the bot is not affected; repeats are counted, not logged, for a minute)"
    ]


def test_each_place_is_logged_for_itself(caplog):
    failures = Failures()
    with caplog.at_level(logging.WARNING):
        failures.note("one", ValueError())
        failures.note("two", ValueError())
    assert len(caplog.records) == 2


def test_strictly_a_failure_is_raised():
    failures = Failures()
    failures.strict = True
    with pytest.raises(RuntimeError, match="no"), failures.kept("somewhere"):
        raise RuntimeError("no")


def test_what_ends_a_thread_is_never_kept():
    with pytest.raises(KeyboardInterrupt), Failures().kept("somewhere"):
        raise KeyboardInterrupt


def test_a_description_reads_plain_arguments_alone():
    class LoudError(Exception):
        def __str__(self):
            raise AssertionError("asked")

    assert describe(LoudError("said", 7, object())) == "LoudError: said, 7"
    assert describe(LoudError()) == "LoudError"
    assert describe(Exception("GET https://x/?timestamp=1&signature=abcdef0123")) == (
        "Exception: GET https://x/?timestamp=1&signature=***"
    )
