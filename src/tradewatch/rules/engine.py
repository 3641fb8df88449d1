"""Evaluates rule groups on the safety thread: on a grid of time, and at once where a change concerns an acting rule.

On the grid an evaluation reads what was stored at that instant, as Prometheus would. Between two points of it, `poke`
evaluates acting rules over current values that are not stored; there an alert can begin and fire, but never end, so
that what Prometheus would not have seen can make ours earlier and never later.

An alert is told of once, and again only after its condition has been false: `acted` is what was told and has not been
false since. Handed to the engine of the next run, it keeps a restart from acting a second time on what a person knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from tradewatch.model import Acted, Alert, Clock, Evidence, Readings, Rule, RuleState
from tradewatch.promql import EvaluationError, Labels, evaluate
from tradewatch.promql.ast import Expr
from tradewatch.rules import evidence
from tradewatch.rules.alerting import rule_state, step
from tradewatch.rules.collection import Collection
from tradewatch.rules.files import Group
from tradewatch.rules.limits import limit_values
from tradewatch.rules.query import QueryResult, query
from tradewatch.rules.schedule import INTERVAL_S, Plan, RuleStatus, Running
from tradewatch.runtime.failures import describe, failures

__all__ = ["Engine", "OnFiring", "RuleStatus"]

# Marks come by the thousand.
POKE_EVERY_S = 0.010
# A longer stretch of pure Python delays the bot's own wake-ups; the last duration of a rule says what it will take.
_STRETCH_NS = 300_000

OnFiring = Callable[[Rule, Alert, tuple[Evidence, ...]], None]


class Engine:
    """The rules of one process.

    `tick`, `poke` and `query` belong to the safety thread; `status` may be called from any.

    Args:
        groups: what `files.load` returned.
        readings: the current values.
        clock: the clock whose time `tick` and `poke` are given.
        on_firing: called once when an alert begins to fire, with the numbers that made it; called again at the next
            evaluation if it raised.
        limits: what `limit_values` returned; None for the defaults.
        identity: labels that every sample gets unless it has them, such as job and instance.
        acted: what `acted` was when an earlier run ended.
        yield_: called between rules, so that the bot's threads get the interpreter.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        readings: Readings,
        clock: Clock,
        on_firing: OnFiring,
        *,
        limits: Mapping[str, float] | None = None,
        identity: Mapping[str, str] | None = None,
        acted: Iterable[Acted] = (),
        yield_: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._on_firing = on_firing
        self._hidden = frozenset(identity or ())
        self._yield = yield_
        self._breathed_ns = 0
        self._plan = Plan(groups)
        self._collection = Collection(
            readings, identity or {}, limit_values() if limits is None else limits, self._plan
        )
        self.acted: frozenset[Acted] = frozenset()
        self._recall(frozenset(acted))
        self._last_ns = 0
        self._ahead_ns = 0
        self._poked_mono_ns: int | None = None
        self._poke_waits = False

    def status(self) -> tuple[RuleStatus, ...]:
        """Every rule as its last evaluation left it, acting groups first."""
        return tuple(rule.status for rule in self._plan.rules)

    def configure(self, groups: Sequence[Group], limits: Mapping[str, float]) -> None:
        """Go on with other rules and limits; belongs to the safety thread.

        A rule that is the same as before keeps its alerts, and is not told of again what it was told of; so is an
        acting one that has only other labels or texts. What was stored of a metric stays.
        """
        plan = Plan(groups)
        plan.follow(self._plan, self._last_ns)
        acted = self.acted
        self._collection.follow(plan, limits)
        self._plan, self.acted = plan, frozenset()
        self._recall(acted)

    def query(self, expr: Expr, now_ns: int) -> QueryResult:
        """The value of an expression that `rules.query.read` gave, now. Belongs to the safety thread, as `tick` does.

        Raises:
            EvaluationError: the samples make it meaningless.
        """
        return query(expr, self._collection, self._steady(now_ns) // 1_000_000)

    def tick(self, now_ns: int) -> float:
        """Evaluate what is due at `now_ns`, epoch nanoseconds of the clock; points of the grid that passed are skipped.

        Returns:
            Seconds of the clock until it is to be called again.
        """
        at_ns = self._steady(now_ns)
        due = [group for group in self._plan.groups if group.is_due(at_ns)]
        if due:
            self._breathed_ns = time.perf_counter_ns()
            # All that is due reads one instant, the newest point of the grids concerned.
            point_ns = max(at_ns // group.interval_ns * group.interval_ns for group in due)
            for group in due:
                group.last_point = at_ns // group.interval_ns
            error = self._collect({group.interval_ns for group in due}, point_ns)
            for group in due:
                for rule in group.rules:
                    self._breathe(int(rule.status.duration_s * 1e9))
                    self._evaluate(rule, point_ns, error=error)
        elif self._poke_waits:
            self._poke(at_ns)
        return self._seconds_left(at_ns)

    def poke(self, now_ns: int) -> float:
        """Evaluate acting rules at once, if a value that they read has changed since it was last read.

        At most once in 10 ms of real time; what comes sooner is taken up by the next `tick` or `poke` after that.

        Returns:
            As `tick`.
        """
        at_ns = self._steady(now_ns)
        self._poke(at_ns)
        return self._seconds_left(at_ns)

    def _poke(self, at_ns: int) -> None:
        mono_ns = self._clock.mono_ns()
        self._poke_waits = self._poke_wait_s(mono_ns) > 0
        # Before the first point of the grid there is nothing to lay changes over.
        if self._poke_waits or any(group.last_point is None for group in self._plan.groups):
            return
        self._poked_mono_ns = mono_ns
        try:
            changed = self._collection.changes(self._plan.acting_reads)
        except Exception as error:
            failures.note("rules.readings", error)
            return
        for rule in self._plan.acting if changed else ():
            if not rule.rule.reads.isdisjoint(changed):
                self._evaluate(rule, at_ns, overlay=self._collection.overlay)

    def _poke_wait_s(self, mono_ns: int) -> float:
        """Real seconds until a poke may evaluate again."""
        if self._poked_mono_ns is None:
            return 0.0
        return POKE_EVERY_S - self._clock.real_seconds((mono_ns - self._poked_mono_ns) / 1e9)

    def _seconds_left(self, at_ns: int) -> float:
        if any(group.is_due(at_ns) for group in self._plan.groups):
            return 0.0
        left = [(group.interval_ns - at_ns % group.interval_ns) / 1e9 for group in self._plan.groups]
        if self._poke_waits:
            wait_s = self._poke_wait_s(self._clock.mono_ns())
            left.append(max(0.0, wait_s) / self._clock.real_seconds(1.0))
        return min(left, default=INTERVAL_S)

    def _steady(self, now_ns: int) -> int:
        """Time that never steps back: a wall clock that was set back must not stop the rules for that long."""
        at_ns = now_ns + self._ahead_ns
        if at_ns < self._last_ns:
            self._ahead_ns += self._last_ns - at_ns
            at_ns = self._last_ns
        self._last_ns = at_ns
        return at_ns

    def _collect(self, grids: set[int], at_ns: int) -> str | None:
        """Returns what went wrong, if anything: then what is due has failed."""
        try:
            self._collection.collect(grids, at_ns // 1_000_000, self._breathe)
        except Exception as error:
            failures.note("rules.readings", error)
            return f"readings: {describe(error)}"
        return None

    def _evaluate(
        self, running: Running, at_ns: int, *, error: str | None = None, overlay: Mapping[Labels, float] | None = None
    ) -> None:
        began_ns = time.perf_counter_ns()
        alerts, empty = running.alerts, True
        ours: Exception | None = None
        if error is None:
            try:
                vector = self._vector(running.rule.expr, at_ns, overlay)
                empty = not vector
                alerts, error = step(
                    running.rule,
                    running.alerts,
                    vector,
                    at_ns,
                    limit=running.limit,
                    resolves=overlay is None,
                )
            except EvaluationError as raised:
                error = str(raised)
            except Exception as raised:
                error, ours = describe(raised), raised
        # Between points of the grid nothing ends and nothing fails.
        if overlay is None or (error is None and alerts):
            running.alerts = alerts
            listed = tuple(alerts.values())
            running.status = RuleStatus(
                rule=running.rule.rule,
                state=self._state(running, error, empty),
                alerts=listed,
                value=listed[0].value if listed else None,
                evaluated_ns=at_ns - self._ahead_ns,
                duration_s=(time.perf_counter_ns() - began_ns) / 1e9,
                error=error,
            )
            self._tell(running, at_ns, overlay)
        if ours is not None:
            failures.note("rules.evaluate", ours)

    def _vector(self, expr: Expr, at_ns: int, overlay: Mapping[Labels, float] | None) -> list[tuple[Labels, float]]:
        result = evaluate(expr, self._collection.store, at_ns // 1_000_000, overlay)
        if isinstance(result, str):
            raise EvaluationError("rule result is not a vector or scalar")
        return [((), result)] if isinstance(result, float) else result

    def _state(self, running: Running, error: str | None, empty: bool) -> RuleState:
        needs = running.rule.needs if empty else frozenset[str]()
        return rule_state(
            running.alerts.values(),
            failed=error is not None,
            empty=empty,
            needs=needs,
            live={name for name in needs if self._collection.store.has_name(name)},
            seen=self._collection.seen,
        )

    def _tell(self, running: Running, at_ns: int, overlay: Mapping[Labels, float] | None) -> None:
        before = set(running.told)
        # Without data nobody knows whether the condition has been false.
        if running.status.state in ("inactive", "pending", "firing"):
            running.told &= {self._own(key) for key in running.alerts}
        for key, alert in running.alerts.items():
            if alert.state != "firing" or self._own(key) in running.told:
                continue
            try:
                numbers = evidence.collect(
                    running.rule, alert, self._collection.store, at_ns, overlay=overlay, hidden=self._hidden
                )
                self._on_firing(running.rule.rule, alert, numbers)
                running.told.add(self._own(key))
            except Exception as error:
                failures.note("rules.on_firing", error)
        if running.told != before and running.rule.rule.action != "notify":
            self.acted = frozenset(
                Acted(each.rule.rule.name, each.rule.rule.expr, labels)
                for each in self._plan.acting
                for labels in each.told
            )

    def _recall(self, acted: frozenset[Acted]) -> None:
        """Take these for told; what no rule of now can have said is let go."""
        for running in self._plan.acting:
            rule = running.rule.rule
            mine = {each for each in acted if (each.rule, each.expr) == (rule.name, rule.expr)}
            running.told |= {each.labels for each in mine}
            self.acted |= mine

    def _own(self, labels: Labels) -> Labels:
        """An alert's labels without those that every series of the process has, which a restart may change."""
        return tuple((name, value) for name, value in labels if name not in self._hidden)

    def _breathe(self, next_ns: int) -> None:
        """Let the bot's threads have the interpreter, if what comes next, `next_ns` long, made the stretch too long."""
        if time.perf_counter_ns() - self._breathed_ns + next_ns > _STRETCH_NS:
            self._yield()
            self._breathed_ns = time.perf_counter_ns()
