"""What the safety thread does: takes the journal, books it, publishes readings, evaluates rules; a rule may halt."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future

from tradewatch.breaker import Breaker
from tradewatch.breaker import metrics as breaker_metrics
from tradewatch.control.commands import CannotAnswer
from tradewatch.memory import Memory
from tradewatch.model import Alert, Call, Clock, Evidence, Mark, Quote, Rule
from tradewatch.portfolio import Portfolio, PortfolioSnapshot
from tradewatch.portfolio import metrics as portfolio_metrics
from tradewatch.portfolio.burst import Burst
from tradewatch.promql import EvaluationError, Expr, ParseError
from tradewatch.rules import Engine, Group
from tradewatch.rules import metrics as rules_metrics
from tradewatch.rules.query import QueryResult
from tradewatch.rules.query import read as read_expression
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.safety import Stretch, breathe
from tradewatch.semconv import Reading
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.live import NO_MORE, LiveCall
from tradewatch.telemetry.probe import recorded
from tradewatch.telemetry.samples import Samples
from tradewatch.telemetry.tally import Tally
from tradewatch.telemetry.traffic import Traffic

_BOOKING = failures.kept("booking")
# Prices wait this long at most; orders and fills wake the thread.
COALESCE_S = 0.05
# Nothing for so long, and the thread sleeps until the rules are due: to look 20 times a second costs half a percent.
_REST_AFTER_NS = 1_000_000_000
_REST_S = 1.0
_ADVANCE_EVERY_NS = 1_000_000_000
# How long whoever changes settings waits for a step to end.
_GIVE_WAY_S = 2.0
# How long somebody who asks for a value waits for this thread.
_ANSWER_S = 2.0


class Safety:
    """One step after the other, on one thread; what it publishes may be read by any.

    Args:
        journal: what the bot's threads wrote down.
        cells: what they counted.
        tally: what is counted here.
        traffic: what came over streams.
        breaker: what a firing rule with `action: halt` trips.
        portfolio: the books.
        memory: what of them must survive.
        groups: the rules.
        limits: what they compare with, by name.
        identity: labels that every sample gets, `job` and `instance`.
        clock: the time of rules and of the day.
        hand_on: given each call when it is booked; it must only queue it.
        others: further readings, from the parts that this one does not know.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        cells: Cells,
        tally: Tally,
        traffic: Traffic,
        breaker: Breaker,
        portfolio: Portfolio,
        memory: Memory,
        groups: Sequence[Group],
        limits: Mapping[str, float],
        identity: Mapping[str, str],
        clock: Clock,
        hand_on: Callable[[Call], None],
        others: Callable[[], Iterator[Reading]],
    ) -> None:
        self.tally = tally
        self._cells = cells
        self._cardinality = cells.cardinality
        self._traffic = traffic
        self._journal = journal
        self._breaker = breaker
        self._portfolio = portfolio
        self._memory = memory
        self._limits = dict(limits)
        self._clock = clock
        self._hand_on = hand_on
        self._others = others
        self._asked: deque[tuple[Expr, Future[QueryResult]]] = deque()
        self._recalled = False
        self._tick_mono_ns = 0
        self._advance_at_ns = 0
        self._heard_at_ns = time.monotonic_ns()
        self.published: tuple[Reading, ...] = ()
        self.snapshot: PortfolioSnapshot = portfolio.snapshot()
        self.engine = Engine(
            groups,
            Samples(lambda: self.published, cells),
            clock,
            self._firing,
            limits=limits,
            identity=identity,
            acted=breaker.alerts_acted,
            yield_=breathe,
        )

    def configure(self, groups: Sequence[Group], limits: Mapping[str, float]) -> None:
        """Put other rules and limits in force, between two steps. May be called from any thread.

        Raises:
            RuntimeError: the safety thread did not come to the end of a step in time; nothing has changed.
        """
        if not self._journal.booking.acquire(timeout=_GIVE_WAY_S):
            raise RuntimeError("the safety thread does not come to an end; the settings stay as they were")
        try:
            self.engine.configure(groups, limits)
            self._limits = dict(limits)
            self._tick_mono_ns = 0
        finally:
            self._journal.booking.release()
        self._journal.touch()

    def step(self) -> float:
        """Do what is due; returns the real seconds until there may be more."""
        with self._journal.booking:
            return self._step()

    def query(self, text: str) -> QueryResult:
        """The value of a PromQL expression now; any thread but the safety thread may ask, and waits for that one.

        Raises:
            CannotAnswer: it is no expression, or the safety thread does not answer.
        """
        try:
            expr = read_expression(text)
        except ParseError as error:
            raise CannotAnswer(str(error)) from None
        found: Future[QueryResult] = Future()
        self._asked.append((expr, found))
        self._journal.wake.set()
        try:
            return found.result(_ANSWER_S)
        except EvaluationError as error:
            raise CannotAnswer(str(error)) from None
        except TimeoutError:
            found.cancel()
            raise CannotAnswer(
                f"the safety thread, whose series these are, did not answer in {_ANSWER_S:g} s"
            ) from None

    def _tell(self) -> None:
        while self._asked:
            expr, found = self._asked.popleft()
            if found.set_running_or_notify_cancel():
                try:
                    found.set_result(self.engine.query(expr, self._clock.now_ns()))
                except EvaluationError as error:
                    found.set_exception(error)
                except Exception as error:
                    found.set_exception(CannotAnswer(f"it could not be evaluated: {describe(error)}"))
                    failures.note("query", error)

    def _step(self) -> float:
        if not self._recalled:
            self._recalled = True
            with failures.kept("recall"):
                self._memory.recall(self._portfolio)
            self._journal.inline = lambda live: self._take(live, Stretch())
        touched, self._journal.touched = self._journal.touched, False
        changed = self._drain() or touched
        # Due by the clock that never steps back: a wall clock that is set back must not stop the rules.
        now_ns, clock_ns = self._clock.now_ns(), self._clock.mono_ns()
        if changed or clock_ns >= self._tick_mono_ns:
            self._publish()
            if changed:
                self.engine.poke(now_ns)
            left_s = self.engine.tick(now_ns)
            self._breaker.acted(self.engine.acted)
            self._tick_mono_ns = clock_ns + int(left_s * 1e9)
        else:
            left_s = (self._tick_mono_ns - clock_ns) / 1e9
        mono_ns = time.monotonic_ns()
        # A halt waits for the orders that had passed: look often until it is confirmed.
        if mono_ns >= self._advance_at_ns or not self._breaker.is_confirmed:
            self._advance_at_ns = mono_ns + _ADVANCE_EVERY_NS
            self._breaker.advance()
        self._tell()
        # What a change made due may be due sooner; the grid itself may wait: in a rehearsal its seconds are short.
        left_real_s = self._clock.real_seconds(left_s)
        if changed:
            return min(COALESCE_S, max(0.001, left_real_s))
        if mono_ns - self._heard_at_ns < _REST_AFTER_NS or not self._breaker.is_confirmed:
            return COALESCE_S
        self._journal.rest()
        return min(_REST_S, max(COALESCE_S, left_real_s))

    def _drain(self) -> bool:
        changed = False
        stretch = Stretch()
        began_ns, anything = time.monotonic_ns(), False
        # By market, those of this drain: the first is marked as it comes, the others with what they lead to.
        quoted: dict[str, Burst] = {}
        for live in self._journal.drain():
            anything = True
            quote = live.told
            if type(quote) is Quote and live.more is NO_MORE and type(quote.market) is str:
                known = quoted.get(quote.market)
                if known is None:
                    quoted[quote.market] = Burst(quote)
                else:
                    known.add(quote)
                    live.told = None
            elif quote is not None or live.more is not NO_MORE:
                # What is booked sees the prices that came before it.
                changed = self._mark_last(quoted, stretch) or changed
            with _BOOKING:
                changed = self._take(live, stretch) or changed
            stretch.step()
        changed = self._mark_last(quoted, stretch) or changed
        for read, *given in self._journal.quotes():
            anything = True
            with _BOOKING:
                changed = self._mark(read(*given).marks, stretch) or changed
        for cell, lag_ns in self._traffic.lags():
            cell.count(lag_ns)
            self._cells.note(cell, lag_ns)
            stretch.step()
        if anything:
            self._heard_at_ns = began_ns
        return changed

    def _mark_last(self, quoted: dict[str, Burst], stretch: Stretch) -> bool:
        changed = False
        for burst in quoted.values():
            for quote in burst.decisive():
                with _BOOKING:
                    changed = self._mark(quote.read(quote).marks, stretch) or changed
        quoted.clear()
        return changed

    def _mark(self, marks: Iterable[Mark], stretch: Stretch) -> bool:
        changed = False
        for mark in marks:
            changed = self._portfolio.mark(mark) or changed
            self._memory.mark(mark)
            stretch.step()
        return changed

    def _take(self, live: LiveCall, stretch: Stretch) -> bool:
        """Make a record of a call, book it and hand it on; whether an acting rule may read something else now."""
        call = recorded(live)
        try:
            return self._book(call, stretch)
        finally:
            self._hand_on(call)

    def _book(self, call: Call, stretch: Stretch) -> bool:
        """Take in what a call told; whether an acting rule may read something else now."""
        books = self._portfolio
        self.tally.book(call)
        changed = self._mark(call.marks, stretch) or bool(call.requests)
        # Fills before reports: an order without its trades would be booked provisionally first.
        for fill in call.fills:
            if books.fill(fill):
                changed = True
                self._memory.fill(fill)
            stretch.step()
        for report in call.reports:
            if books.report(report):
                changed = True
                if books.stands_provisionally(report.key):
                    self._memory.report(report)
        if call.requests or call.reports:
            self._breaker.hear(call)
        if call.balances is not None:
            changed = books.balances(call.balances) or changed
        return changed

    def _publish(self) -> None:
        snapshot = self._portfolio.snapshot()
        self.snapshot = snapshot
        self._memory.watermarks(self._portfolio, snapshot)
        self.published = (
            *self.tally.readings(),
            *self._cardinality.bounded(portfolio_metrics.readings(snapshot)),
            *self._cardinality.readings(),
            *breaker_metrics.readings(self._breaker.status()),
            *rules_metrics.readings(self.engine.status(), self._limits),
            *self._others(),
        )

    def _firing(self, rule: Rule, alert: Alert, evidence: tuple[Evidence, ...]) -> None:
        if rule.action == "halt":
            said = dict(alert.annotations)
            # A refused order is told this in one line; the description, with what to do, stands in the status.
            reason = said.get("summary") or said.get("description") or f"{rule.expr} is true"
            self._breaker.halt(rule.name, reason, evidence, channel="rule")
