"""A running bot at a glance: from a `Status` to what rich renders.

Pure functions: what is shown follows from the status and the room there is. Nothing is told by colour alone, and what
is not known is a dash, never a zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from os.path import basename

from rich.box import HEAVY
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.rule import Rule as Heading
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from tradewatch.cli.spelled import STATES, UNKNOWN, amount, duration, moment, money, numbers, size, span
from tradewatch.portfolio import PositionReading
from tradewatch.rules import RuleStatus
from tradewatch.status import Operation, Status, System

_WIDEST = 132
_TWO_COLUMNS = 76
# Label names and quotes within a series: of `a{b="c"}` they leave `a{c}`.
_VALUE = re.compile(r'\w+="|"')


def view(status: Status, caption: str = "") -> RenderableType:
    """The whole status, fitted to the width and, on a full screen, to the height that it is rendered in.

    Args:
        status: of the bot.
        caption: to stand beside the time, such as 'simulated, 200 x'.
    """
    return _View(status, caption)


class _View:
    def __init__(self, status: Status, caption: str) -> None:
        self._status = status
        self._caption = caption

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST)
        inner = options.update(width=width, height=None)
        # rich tells nested renderables no height; on the alternate screen it is the screen's.
        room = options.height or (console.height if console.is_alt_screen else None)
        # As much detail as there is room for; what comes last is what a very small screen does not show.
        for detail in (3, 2, 1, 0):
            lines = console.render_lines(_page(self._status, self._caption, width, detail), inner, pad=False)
            if room is None or len(lines) <= room:
                break
        for line in lines[:room]:
            yield Segments([*line])
            yield Text("")


def _page(status: Status, caption: str, width: int, detail: int) -> RenderableType:
    books = [*_money(status, detail), *_positions(status, width, detail), *_orders(status, detail)]
    calls, rules = [*_calls(status, width, detail)], [*_rules(status, width, detail)]
    own = [*_process(status, detail), *_own(status, detail)]
    if width < _TWO_COLUMNS:
        body = [each for each in (*books, *rules, *own, *calls) if detail or not isinstance(each, Heading)]
    else:
        columns = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=False)
        columns.add_column(ratio=10)
        columns.add_column(ratio=13)
        columns.add_row(Group(*books), Group(*calls))
        body = [columns, *rules, *own]
    return Group(_title(status, caption, width), _breaker(status, width, detail), *body, *_notes(status))


def _title(status: Status, caption: str, width: int) -> RenderableType:
    venues = ", ".join(dict.fromkeys(client.exchange for client in status.clients)) or "no client"
    bot = Text.assemble((status.bot, "bold"), (f" on {venues}", "dim"))
    name = Text.assemble(("tradewatch ", "bold cyan"), bot)
    when = Text(f"{moment(status.at_ns)} UTC", "bold")
    when.append(f" · up {span((status.at_ns - status.since_ns) / 1e9)}{f' · {caption}' if caption else ''}", "dim")
    for left in (name, bot):
        if left.cell_len + when.cell_len + 2 <= width:
            table = Table.grid(expand=True)
            table.add_column()
            table.add_column(justify="right")
            table.add_row(left, when)
            return table
    return Group(name, when)


def _breaker(status: Status, width: int, detail: int) -> RenderableType:
    now = status.breaker
    if now.state == "ACTIVE":
        text = Text.assemble(("● ACTIVE ", "bold green"), "orders pass")
        text.append(f" · {now.in_flight} in flight" if now.in_flight else "", "dim")
        text.append(f" · {now.refused} refused before" if now.refused else "", "dim")
        return text.append(f" · not confirmed: {now.not_confirmed}" if now.not_confirmed else "", "yellow")
    reason = now.reason if detail >= 3 else now.reason.split("; ")[0].split(". ")[0]
    title, since = f" ■ HALTED by {now.by}", f"at {moment(now.since_ns)} UTC"
    wide = len(title) + len(since) + 8 <= width
    lines = [Text(reason, "bold")] if wide else [Text(since), Text(reason, "bold")]
    # The series alone where room is short: the expression's value is in the reason.
    series = [each for each in now.evidence if " " not in each.what.strip()] or now.evidence[:1]
    if detail >= 2:
        lines.extend(Text(f"  {each}") for each in numbers(now.evidence if detail >= 3 else series))
    elif series:
        lines.append(Text(" · ".join(f"{_VALUE.sub('', each.what)} = {each.value:.6g}" for each in series)))
    if now.confirmed:
        end = Text("✓ confirmed on disk, no order in flight · ")
    else:
        end = Text(f"✗ not confirmed yet: {now.not_confirmed or UNKNOWN} · ", "yellow")
    end.append(f"{now.refused} orders refused, cancels pass", "bold not dim default")
    end.append(f" · {len(now.unknown) + now.forgotten} orders unknown" if now.unknown else "", "yellow")
    end.append(f" · {len(now.further)} further halts" if now.further else "", "dim")
    return Panel(
        Group(*lines, end), box=HEAVY, border_style="bold red", style="on #3a0000", padding=(0, 1),
        title=Text(f"{title} {since} " if wide else f"{title} ", "bold white on red"), title_align="left",
    )  # fmt: skip


def _money(status: Status, detail: int) -> Iterable[RenderableType]:
    books = status.portfolio
    table = _pairs()
    worth = Text(money(books.equity.value, books.currency), "bold")
    if books.equity.stale:
        worth.append(f" stale: {', '.join(books.equity.stale)}", "yellow")
    table.add_row("equity", worth)
    table.add_row("today", _signed(books.daily_pnl, books.currency))
    table.add_row("loss", _used(books.daily_loss_ratio, status.limits.get("daily_loss")))
    table.add_row("drawdown", _used(books.drawdown_ratio, status.limits.get("drawdown")))
    if detail >= 1:
        realized = [_signed(total.amount, total.currency) for total in books.realized]
        table.add_row("realised", Text(", ").join(realized) if realized else Text(UNKNOWN, "dim"))
        fees = ", ".join(f"{amount(total.amount)} {total.currency}" for total in books.fees)
        table.add_row("fees", Text(fees or UNKNOWN, "" if fees else "dim"))
    for total in books.unvalued:
        table.add_row("no price", Text(f"{amount(total.amount)} {total.currency}", "yellow"))
    yield from _heading("money")
    yield table
    for why in books.incomplete:
        yield Text(f"! incomplete: {why}", "yellow")


def _positions(status: Status, width: int, detail: int) -> Iterable[RenderableType]:
    table = Table.grid(padding=(0, 1, 0, 0))
    for number in range(4):
        table.add_column(no_wrap=number != 2)
    held, priced = status.portfolio.positions, width < _TWO_COLUMNS or width >= 92
    for each in held[: 3 * detail + 1]:
        table.add_row(
            each.symbol, Text(amount(each.amount), "bold"), _price(each, priced), _signed(each.unrealized, "")
        )
    if held:
        yield from _heading("positions") if detail else ()
        yield table
    if len(held) > 3 * detail + 1:
        yield Text(f"and {len(held) - 3 * detail - 1} more", "dim")


def _price(held: PositionReading, shown: bool) -> Text:
    text = Text("stale " if held.price_is_stale else "", "yellow", no_wrap=True, overflow="ellipsis")
    style = "dim" if held.price is None else "default"
    return text.append(f"@ {money(held.price, None)}" if shown else "", style)


def _calls(status: Status, width: int, detail: int) -> Iterable[RenderableType]:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    narrow = width < _TWO_COLUMNS
    heads = ("calls", "p50", "p95", "p99") if narrow else ("calls", "err", "p50", "p95", "p99")
    for _ in heads:
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(head, "dim") for head in heads))
    several = len({each.exchange for each in status.operations}) > 1
    shown: Sequence[Operation] = status.operations[: (7, 7, 10, 20)[detail]]
    for each in shown:
        name = f"{each.exchange} {each.operation}" if several else each.operation
        errors = Text(str(each.errors), "red" if each.errors else "dim")
        times = [Text(duration(s), _speed(s)) for s in (each.p50_s, each.p95_s, each.p99_s)]
        cells = [Text(f"{each.calls}"), *times] if narrow else [Text(f"{each.calls}"), errors, *times]
        table.add_row(name, *cells)
    yield from _heading("calls")
    if not shown:
        yield Text("none yet", "dim")
        return
    yield table
    rest = len(status.operations) - len(shown)
    if rest > 0:
        yield Text(f"and {rest} more operations", "dim")


def _orders(status: Status, detail: int) -> Iterable[RenderableType]:
    table = _pairs()
    table.add_row("orders", _counts(status.orders, {"refused": "bold red", "rejected": "red", "unknown": "yellow"}))
    table.add_row("fills", Text(str(status.portfolio.fills)))
    table.add_row("errors", _counts(status.errors, dict.fromkeys(status.errors, "red")))
    yield from _heading("orders") if detail else ()
    yield table


def _rules(status: Status, width: int, detail: int) -> Iterable[RenderableType]:
    yield from _heading("rules")
    if not status.rules:
        yield Text("none", "dim")
        return
    order = list(STATES)
    ranked = sorted(status.rules, key=lambda rule: order.index(rule.state))
    calm = [rule for rule in ranked if rule.state in ("inactive", "warming")]
    shown = ranked if detail >= 2 else [rule for rule in ranked if rule not in calm]
    columns = max(1, min(3, width // 38))
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in range(columns):
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    texts = [_rule(rule) for rule in shown]
    for i in range(0, len(texts), columns):
        table.add_row(*texts[i : i + columns])
    if texts:
        yield table
    if detail < 2 and calm:
        warming = sum(rule.state == "warming" for rule in calm)
        quiet = Text.assemble(("✓ ", "green"), f"{len(calm) - warming} rules ok")
        yield quiet.append(f" · … {warming} warming up" if warming else "", "dim")


def _rule(rule: RuleStatus) -> Text:
    symbol, style, word = STATES[rule.state]
    text = Text.assemble((f"{symbol} ", style), rule.rule.name, " ", (word, style))
    if rule.error is not None:
        text.append(f" {rule.error}", "red")
    elif rule.value is not None:
        text.append(f" {rule.value:.4g}", "bold")
    if rule.rule.action != "notify":
        text.append(f" → {rule.rule.action}", "dim")
    return text


def _process(status: Status, detail: int) -> Iterable[RenderableType]:
    now = status.system
    if now == System():
        return
    text = Text(f"{UNKNOWN if now.cpu is None else f'{now.cpu:.0%}'} of a core · {size(now.memory_bytes)}")
    if now.loops:
        slowest = max(now.loops.values())
        text.append(" · loop lag ").append(duration(slowest), _speed(slowest))
    # Without a look of late nothing is known of a file.
    none = "missing" if now.cpu is not None or now.memory_bytes is not None else "?"
    for path, found in now.log_files.items():
        text.append(f" · {basename(path)} {none if found is None else size(found)}", "yellow" if found is None else "")
    for name, up in now.processes.items():
        text.append(f" · {basename(name)} {'?' if up is None else 'up' if up else 'DOWN'}", "" if up else "bold red")
    yield from _heading("process") if detail else ()
    yield text if detail else Text("process: ").append_text(text)


def _own(status: Status, detail: int) -> Iterable[RenderableType]:
    own, cpu = status.telemetry, status.overhead_cpu
    text = Text(f"{UNKNOWN if cpu is None else f'{cpu:.1%}'} of a core")
    lost = own.reads_dropped + own.records_dropped + sum(d.count for d in own.dropped)
    text.append(f" · {lost} records lost", "bold red" if lost else "dim")
    failed = sum(status.failures.values())
    text.append(f" · {failed} failures of its own" if failed else "", "bold red")
    text.append("" if status.safety_alive else " · SAFETY THREAD DEAD", "bold red")
    text.append("" if status.service_alive else " · service thread dead", "bold red")
    if detail >= 1:
        text.append(f" · {own.endpoint}" if own.endpoint else " · no scrape endpoint", "dim")
    yield from _heading("tradewatch itself") if detail else ()
    yield text if detail else Text("tradewatch itself: ").append_text(text)


def _notes(status: Status) -> Iterable[RenderableType]:
    found = [*status.notes, *status.telemetry.notes, *([status.breaker.note] if status.breaker.note else [])]
    return [Text(f"! {note}", "yellow") for note in found]


def _heading(title: str) -> Iterable[RenderableType]:
    yield Heading(Text(title, "bold cyan"), align="left", style="dim cyan", characters="─")


def _pairs() -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=8)
    table.add_column()
    return table


def _used(ratio: Decimal | None, limit: float | None) -> Text:
    """How much of a limit is used, as a bar and in numbers."""
    if ratio is None or not limit:
        shown = UNKNOWN if ratio is None else f"{ratio:.2%}"
        return Text(f"{shown} of {UNKNOWN if not limit else f'{limit * 100:g}%'}", "dim")
    used = max(0.0, float(ratio) / limit)
    style = "green" if used < 0.5 else "yellow" if used < 0.8 else "bold red"
    full = min(10, round(used * 10))
    text = Text.assemble(("█" * full, style), ("░" * (10 - full), "dim"))
    return text.append(f" {max(Decimal(0), ratio):.2%}", style).append(f" of {limit * 100:g}%", "dim")


def _counts(counts: dict[str, int], styles: dict[str, str]) -> Text:
    if not counts:
        return Text("none", "dim")
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Text(" · ").join(Text(f"{n} {what}", styles.get(what, "")) for what, n in ranked)


def _signed(value: Decimal | None, currency: str | None) -> Text:
    if value is None:
        return Text(UNKNOWN, "dim")
    return Text(f"{value:+,.2f} {currency or ''}".rstrip(), "green" if value >= 0 else "red")


def _speed(seconds: float | None) -> str:
    return "dim" if seconds is None else "red" if seconds >= 5 else "yellow" if seconds >= 1 else ""
