"""What leads from the monotonic clock to the epoch, where the thread has to wait for its turn in the middle."""

from types import SimpleNamespace

from tradewatch.runtime import clock


def test_of_a_few_pairs_of_readings_the_closest_counts(monkeypatch):
    now = {"ns": 0}
    # Before each reading passes so much; the thread waits for its turn twice.
    passes = iter([100, 5_000_000, 100, 100, 100, 9_000_000, 100, 100, 100])

    def mono():
        now["ns"] += next(passes)
        return now["ns"]

    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic_ns=mono, time_ns=lambda: mono() + 10**18))
    assert clock.epoch_offset_ns() == 10**18
    assert list(passes) == []
