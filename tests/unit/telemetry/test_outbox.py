"""An outbox: bounded, urgent first, everything that is lost counted once, and an end that waits no longer than told."""

import threading

import pytest

from tradewatch.telemetry.outbox import Dropped, Outbox, Sent, Size

ROOMY = Size(1_000, 10**9, 100, 10**9, 0.005)


class Collector:
    """Takes batches once it is let; answers as told."""

    def __init__(self):
        self.batches, self.answers = [], []
        self.let, self.asked, self.aborted = threading.Event(), threading.Event(), threading.Event()
        self.let.set()

    def send(self, batch):
        self.asked.set()
        self.let.wait(30)
        answer = self.answers.pop(0) if self.answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        if answer.again_s is None and not answer.refused:
            self.batches.append(list(batch))
        return answer

    def arrived(self):
        return [item for batch in self.batches for item in batch]

    def abort(self):
        self.aborted.set()


@pytest.fixture
def collector():
    return Collector()


@pytest.fixture
def outbox(collector):
    made = []

    def make(size=ROOMY):
        made.append(Outbox("spans", collector.send, collector.abort, size))
        return made[-1]

    yield make
    collector.let.set()
    for one in made:
        one.close(5)
        one._thread.join(5)
        assert not one._thread.is_alive()


def lost(outbox):
    return {(d.kind, d.reason): d.count for d in outbox.dropped()}


def test_everything_arrives_once_and_in_its_order(outbox, collector):
    one = outbox()
    for n in range(500):
        one.put(n, 10, urgent=False)
    assert one.flush(10)
    assert collector.arrived() == list(range(500))
    assert max(map(len, collector.batches)) <= 100
    assert one.close(5)
    assert one.dropped() == []
    assert one._bytes == [0]


def test_orders_and_errors_go_first_and_are_dropped_last(outbox, collector):
    collector.let.clear()
    one = outbox(Size(10, 10**9, 10, 10**9, 0.005))
    one.put("held", 1, urgent=False)
    assert collector.asked.wait(5)
    for n in range(10):
        one.put(f"read {n}", 1, urgent=False)
    for n in range(4):
        one.put(f"order {n}", 1, urgent=True)
    one.put("read 10", 1, urgent=False)
    assert lost(one) == {("other", "full"): 5}
    collector.let.set()
    assert one.flush(10)
    assert collector.arrived() == ["held", *(f"order {n}" for n in range(4)), *(f"read {n}" for n in range(4, 10))]


def test_orders_alone_are_bounded_too(outbox, collector):
    collector.let.clear()
    one = outbox(Size(10, 10**9, 1, 10**9, 0.005))
    one.put("held", 1, urgent=True)
    assert collector.asked.wait(5)
    for n in range(12):
        one.put(n, 1, urgent=True)
    assert lost(one) == {("order or error", "full"): 2}
    assert one.crowded


def test_bytes_are_bounded_whatever_the_count(outbox, collector):
    collector.let.clear()
    one = outbox(Size(1_000, 1_000, 10, 10**9, 0.005))
    one.put("held", 0, urgent=False)
    assert collector.asked.wait(5)
    for n in range(20):
        one.put(n, 100, urgent=False)
    assert lost(one) == {("other", "full"): 10}
    one.put("larger than all", 1_001, urgent=True)
    assert lost(one) == {("other", "full"): 10, ("order or error", "impossible"): 1}
    one.put("as large as all", 1_000, urgent=True)
    assert lost(one)["other", "full"] == 20
    collector.let.set()
    assert one.flush(10)
    assert collector.arrived() == ["held", "as large as all"]
    assert one._bytes == [0]


def test_what_can_never_be_sent_takes_no_room_from_what_can(outbox, collector):
    """Neither what waits nor what comes after it is lost for one that is larger than all the room there is."""
    collector.let.clear()
    one = outbox(Size(1_000, 1_000, 10, 10**9, 0.005))
    one.put("held", 0, urgent=False)
    assert collector.asked.wait(5)
    for n in range(5):
        one.put(n, 100, urgent=n == 0)
        one.put("too large", 10**6, urgent=n % 2 == 0)
    collector.let.set()
    assert one.flush(10)
    assert collector.arrived() == ["held", 0, 1, 2, 3, 4]
    assert lost(one) == {("order or error", "impossible"): 3, ("other", "impossible"): 2}
    assert one._bytes == [0]


class Well:
    """A source that has what was put into it."""

    def __init__(self, outbox):
        self.outbox, self.has, self.reads = outbox, [], 0

    def read(self):
        self.reads += 1
        while self.has:
            self.outbox.put(self.has.pop(0), 1, urgent=False)


def test_a_source_is_read_each_time_and_a_last_time_at_the_end(outbox, collector, until):
    one = outbox()
    well = one.source = Well(one)
    well.has = [1, 2]
    until(lambda: collector.arrived() == [1, 2])
    until(lambda: well.reads > 3)
    collector.let.clear()
    well.has = [3]
    until(lambda: well.has == [])
    # It comes while another is being sent, and before an end.
    well.has = [4]
    one.finish()
    collector.let.set()
    assert one.close(5)
    assert collector.arrived() == [1, 2, 3, 4]
    assert one.dropped() == []


def test_a_source_that_fails_is_counted_and_read_again(outbox, collector, until, lenient):
    one = outbox()

    class Failing(Well):
        def read(self):
            super().read()
            if self.reads < 3:
                raise RuntimeError("a bug")

    well = Failing(one)
    well.has = [1]
    one.source = well
    until(lambda: well.reads > 3)
    assert collector.arrived() == [1]
    assert lenient == {"export spans": 2}


def test_a_batch_is_bounded_in_bytes(outbox, collector):
    collector.let.clear()
    one = outbox(Size(1_000, 10**9, 1_000, 250, 0.005))
    for n in range(10):
        one.put(n, 100, urgent=False)
    collector.let.set()
    assert one.flush(10)
    assert max(map(len, collector.batches)) <= 3
    assert collector.arrived() == list(range(10))


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (Sent(refused=True, why="it answers 400"), {("order or error", "refused"): 1, ("other", "refused"): 2}),
        (Sent(rejected=2, why="2 were rejected"), {("unknown", "rejected"): 2}),
        (Sent(impossible=1), {("unknown", "impossible"): 1}),
    ],
)
def test_what_a_collector_does_not_take_is_counted_by_kind_and_reason(outbox, collector, answer, counted):
    collector.let.clear()
    collector.answers = [Sent(), answer]
    one = outbox()
    one.put("held", 1, urgent=False)
    assert collector.asked.wait(5)
    for n, urgent in enumerate((True, False, False)):
        one.put(n, 1, urgent=urgent)
    collector.let.set()
    assert one.flush(10)
    assert lost(one) == counted


def test_a_collector_that_comes_back_is_sent_what_waited_in_order(outbox, collector, monkeypatch):
    monkeypatch.setattr("tradewatch.telemetry.outbox._FIRST_PAUSE_S", 0.001)
    collector.answers = [Sent(again_s=0.0, why="refused")] * 3
    one = outbox()
    for n in range(300):
        one.put(n, 1, urgent=n % 10 == 0)
    assert one.flush(20)
    assert sorted(collector.arrived()) == list(range(300))
    assert collector.arrived()[0] == 0
    assert one.dropped() == []
    assert one._bytes == [0]
    assert one.reachable


def test_a_send_that_raises_is_counted_and_the_next_one_goes_out(outbox, collector, lenient):
    collector.answers = [RuntimeError("a bug")]
    one = outbox()
    one.put(1, 1, urgent=True)
    assert one.flush(10)
    one.put(2, 1, urgent=True)
    assert one.flush(10)
    assert collector.arrived() == [2]
    assert lost(one) == {("order or error", "refused"): 1}
    assert lenient == {"export spans": 1}
    assert one.failures == 1


def test_an_end_sends_what_is_there(outbox, collector):
    one = outbox(Size(1_000, 10**9, 1_000, 10**9, 60.0))
    for n in range(50):
        one.put(n, 1, urgent=False)
    assert one.close(5)
    assert collector.arrived() == list(range(50))
    one.put("late", 1, urgent=False)
    assert lost(one) == {("other", "unreachable"): 1}


def test_an_end_does_not_wait_for_a_collector_that_hangs(outbox, collector):
    collector.let.clear()
    one = outbox(Size(1_000, 10**9, 2, 10**9, 0.005))
    one.put("held", 1, urgent=True)
    assert collector.asked.wait(5)
    for n in range(5):
        one.put(n, 1, urgent=False)
    assert not one.close(0.05)
    assert collector.aborted.is_set()
    assert lost(one) == {("order or error", "unreachable"): 1, ("other", "unreachable"): 5}
    collector.let.set()
    one._thread.join(5)
    # What came of it in the end is not counted a second time.
    assert one.dropped() == [
        Dropped("spans", "order or error", "unreachable", 1),
        Dropped("spans", "other", "unreachable", 5),
    ]


def test_an_end_does_not_wait_out_a_pause(outbox, collector):
    collector.answers = [Sent(again_s=300.0, why="later")]
    one = outbox()
    one.put(1, 1, urgent=False)
    assert collector.asked.wait(5)
    assert one.close(20)
    assert collector.arrived() == [1]


def test_nothing_is_lost_uncounted_under_many_threads(outbox, collector):
    one = outbox(Size(200, 10**9, 50, 10**9, 0.001))
    threads = [
        threading.Thread(target=lambda n=n: [one.put((n, k), 3, urgent=k % 3 == 0) for k in range(5_000)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.close(20)
    arrived = collector.arrived()
    assert len(set(arrived)) == len(arrived)
    assert len(arrived) + sum(d.count for d in one.dropped()) == 40_000
    assert one._bytes == [0]


def test_what_stands_still_is_said_by_who_looks(outbox, collector, monkeypatch, caplog):
    """Its own thread cannot: it is in the middle of a request that knows no time-out."""
    collector.let.clear()
    one = outbox(Size(2, 10**9, 2, 10**9, 0.005))
    one.look()
    one.put("held", 1, urgent=False)
    assert collector.asked.wait(5)
    one.look()
    assert caplog.messages == []
    monkeypatch.setattr("tradewatch.telemetry.outbox._STANDS_STILL_S", -1.0)
    for n in range(5):
        one.put(n, 1, urgent=False)
    one.look()
    one.look()
    assert caplog.messages == [
        "no spans reach the collector: no answer, and no error, for 0 s; status() counts",
        "3 spans were dropped since the start: more came than the collector took",
    ]
    collector.let.set()
    assert one.flush(5)
    one.look()
    assert len(caplog.messages) == 2
