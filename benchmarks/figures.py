"""What a benchmark found: a figure, what it stands beside, and its target; and the table and the JSON of many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

# What a ratio says: ours is so many times below the other, so many times above it, adds such a share to it, or is so
# many times it.
Kind = Literal["below", "above", "added", "times"]
UNKNOWN = "–"


class Target(msgspec.Struct, frozen=True):
    """A bound on the figure or on the ratio; just one of `at_most` and `at_least` is set."""

    of: Literal["figure", "ratio"]
    at_most: float | None = None
    at_least: float | None = None


class Figure(msgspec.Struct, frozen=True):
    """One line of the table.

    `ours` and `theirs` are in `unit`; `ratio` is None where the one or the other is lost in the noise.
    """

    what: str
    ours: float | None
    unit: str
    against: str = ""
    theirs: float | None = None
    ratio: float | None = None
    kind: Kind | None = None
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no target, or nothing to hold against it."""
        if self.target is None:
            return None
        value = self.ratio if self.target.of == "ratio" else self.ours
        if value is None or math.isnan(value):
            return None
        if self.target.at_most is not None:
            return value <= self.target.at_most
        return self.target.at_least is not None and value >= self.target.at_least


class Outcome(msgspec.Struct, frozen=True):
    """What became of one measurement: its figures, or why there are none."""

    measurement: str
    seconds: float
    figures: tuple[Figure, ...] = ()
    failure: str | None = None


def alone(
    what: str, ours: float, unit: str, *, at_most: float | None = None, at_least: float | None = None, note: str = ""
) -> Figure:
    """A figure that stands beside nothing but its target."""
    target = None if at_most is None and at_least is None else Target("figure", at_most, at_least)
    return Figure(what, ours, unit, target=target, note=note)


def compared(
    what: str,
    ours: float,
    unit: str,
    against: str,
    theirs: float,
    kind: Kind,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Figure:
    """A figure beside another; the target, where there is one, is of the ratio."""
    target = None if at_most is None and at_least is None else Target("ratio", at_most, at_least)
    ratio: float | None = None
    if kind == "below":
        ratio = theirs / ours if ours > 0 and theirs > 0 else None
    elif theirs > 0:
        ratio = ours / theirs - (kind == "added")
    if ratio is None:
        note = "; ".join(filter(None, (note, "lost in the noise")))
    return Figure(what, ours, unit, against, theirs, ratio, kind, target, note)


def number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return UNKNOWN
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"


def ratio(value: float | None, kind: Kind | None) -> str:
    if value is None or kind is None:
        return "" if kind is None else UNKNOWN
    return f"{value:+.1%}" if kind == "added" else f"{number(value)} x {kind}".removesuffix(" times")


def bound(figure: Figure) -> str:
    target = figure.target
    if target is None:
        return ""
    sign, value = ("≤", target.at_most) if target.at_most is not None else ("≥", target.at_least)
    assert value is not None
    if target.of == "figure":
        return f"{sign} {value:,g} {figure.unit}"
    return f"{sign} {value:.0%}" if figure.kind == "added" else f"{sign} {value:g} x"


def verdict(figure: Figure) -> str:
    return {True: "met", False: "MISSED", None: "" if figure.target is None else "unknown"}[figure.met]


def table(outcomes: Sequence[Outcome]) -> str:
    """All figures in one table; a measurement that failed is a line that says why."""
    head = ("", "ours", "beside", "theirs", "ratio", "target", "", "")
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        rows.append((f"[{outcome.measurement}]",))
        if outcome.failure is not None:
            rows.append((f"  FAILED: {outcome.failure}",))
        last = None
        for each in outcome.figures:
            ours = f"{number(each.ours)} {each.unit}"
            again = (each.what, ours) == last
            last = each.what, ours
            rows.append(
                (
                    "" if again else f"  {each.what}",
                    "" if again else ours,
                    each.against,
                    "" if not each.against else f"{number(each.theirs)} {each.unit}",
                    ratio(each.ratio, each.kind),
                    bound(each),
                    verdict(each),
                    each.note,
                )
            )
    wide = [max(len(row[n]) for row in (head, *(r for r in rows if len(r) > 1))) for n in range(len(head))]
    right = (1, 3, 4)
    lines = []
    for row in (head, *rows):
        cells = (each.rjust(wide[n]) if n in right else each.ljust(wide[n]) for n, each in enumerate(row))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    verdicts = [figure.met for outcome in outcomes for figure in outcome.figures if figure.target is not None]
    failed = sum(outcome.failure is not None for outcome in outcomes)
    return (
        f"{verdicts.count(True)} targets met, {verdicts.count(False)} missed, {verdicts.count(None)} unknown; "
        f"{failed} of {len(outcomes)} measurements failed"
    )


def plain(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """For JSON: as they are, and whether each target was met."""
    found = []
    for outcome in outcomes:
        figures = [{**msgspec.to_builtins(figure), "met": figure.met} for figure in outcome.figures]
        found.append({**msgspec.to_builtins(outcome), "figures": figures})
    return found
