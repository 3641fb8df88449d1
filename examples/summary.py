"""The end of the demo: what happened, when, from which numbers, and whether the exchange's own books agree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule as Heading
from rich.table import Table
from rich.text import Text

from tradewatch import Status
from tradewatch.breaker import Action
from tradewatch.cli import spelled

# What an answer of the exchange can bring that equity follows from.
_TELLING = ("ticker_24hr", "order_place", "my_trades", "account")


@dataclass(frozen=True)
class Observed:
    """A run as both sides tell it.

    `books` and `requests` are the exchange's, `ready` its clock; `attempts` are what the scrape endpoint counted, None
    where it gave no answer; `refused` is when the bot logged the first refused order (simulated), and its words;
    `actions` are the halts and resumptions of the audit with their (simulated) times, oldest first.
    """

    status: Status
    books: dict[str, Any]
    requests: list[dict[str, Any]]
    attempts: int | None
    ready: dict[str, Any]
    refused: tuple[int, str] | None
    actions: Sequence[tuple[int, Action]]

    def real_s(self, at_ns: int) -> float:
        """Real seconds from the exchange's start to a simulated instant."""
        return float((at_ns - self.ready["start_ns"]) / self.ready["speed"] / 1e9)


def summary(run: Observed) -> RenderableType:
    """The whole of it."""
    halted = run.status.breaker.state == "HALTED"
    return Group(
        _heading("what happened"),
        _happened(run),
        *(_halt(run) if halted else () if run.actions else _no_halt(run)),
        _heading("tradewatch beside the exchange's own books"),
        _compared(run),
        *_sent(run),
        *_next(run),
    )


def _happened(run: Observed) -> RenderableType:
    status, (account,) = run.status, run.books["accounts"].values()
    books = status.portfolio
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column()

    def row(at_ns: int, text: str, style: str = "") -> None:
        table.add_row(spelled.moment(at_ns)[11:], f"{run.real_s(at_ns):.1f} s", Text(text, style))

    table.add_row(Text("UTC", "dim"), "real", Text(f"3 March 2023, {run.ready['speed']:g} times as fast", "dim"))
    opening = run.books["opening_marks"].get("BTC/USDT")
    if opening:
        row(run.ready["start_ns"], f"the exchange opens, BTC at {_two(opening['mid'])}")
    row(status.since_ns, "tradewatch.instrument(bot)")
    trades = account["trades"]
    if trades:
        row(trades[0]["at_ns"], f"first fill: {_trade(trades[0])}")
    told = [(at_ns, f"{act.by} {act.asked}s the bot: {act.reason}", act.asked) for at_ns, act in run.actions]
    if run.refused is not None:
        order = run.refused[1].partition("tradewatch refused ")[2].partition(": halted")[0]
        told.append((run.refused[0], f"first order refused: {order}", "halt"))
    for at_ns, text, asked in sorted(told, key=lambda each: each[0]):
        row(at_ns, text, "bold red" if asked == "halt" else "bold green")
    mid = run.books["mids"].get("BTC/USDT")
    lost = "" if books.daily_loss_ratio is None else f", {-books.daily_loss_ratio:+.2%} today"
    row(status.at_ns, f"end: BTC at {_two(mid['mid']) if mid else spelled.UNKNOWN}{lost}")
    return table


def _halt(run: Observed) -> Iterator[RenderableType]:
    breaker = run.status.breaker
    yield _heading("why, from which numbers")
    yield Text(breaker.reason.partition(". ")[0] + ".", "bold")
    yield from (Text(f"  {number}") for number in spelled.numbers(breaker.evidence))
    fired = [alert for rule in run.status.rules if rule.rule.name == breaker.by for alert in rule.alerts]
    yield from (Text(dict(alert.annotations).get("description", ""), "dim") for alert in fired[:1])
    confirmed = "on disk, and every order that had passed is answered or listed as unknown"
    yield Text(f"Confirmed: {confirmed}." if breaker.confirmed else f"NOT confirmed: {breaker.not_confirmed}.")
    if run.actions[-1][1].channel != "rule":
        return
    yield _heading("how fast, in real time")
    told = [each for each in run.requests if each["operation"] in _TELLING and each["answered_sim_ns"] is not None]
    last = max(
        (each for each in told if each["answered_sim_ns"] <= breaker.since_ns),
        key=lambda each: each["answered_sim_ns"],
        default=None,
    )
    if last is not None:
        took_s = (breaker.since_ns - last["answered_sim_ns"]) / 1e9 / run.ready["speed"]
        yield Text(
            f"{took_s * 1e3:7.1f} ms  from the exchange's answer with the losing price or fill "
            f"({last['operation']}) to the halt"
        )
    looks = sorted(
        each["answered_sim_ns"]
        for each in told
        if each["operation"] == "ticker_24hr" and each["answered_sim_ns"] <= breaker.since_ns
    )
    if len(looks) > 1:
        gap_s = (looks[-1] - looks[-2]) / 1e9
        real_ms = gap_s / run.ready["speed"] * 1e3
        yield Text(f"{real_ms:7.1f} ms  between the bot's last two looks at the price: {gap_s:.0f} s of the market")
    if run.refused is not None and run.refused[0] >= breaker.since_ns:
        took_s = (run.refused[0] - breaker.since_ns) / 1e9 / run.ready["speed"]
        yield Text(f"{took_s * 1e3:7.1f} ms  from the halt to the next order that the bot tried, refused")


def _no_halt(run: Observed) -> Iterator[RenderableType]:
    loss = run.status.portfolio.daily_loss_ratio
    yield _heading("no halt")
    lost = spelled.UNKNOWN if loss is None else f"{max(Decimal(0), loss):.2%}"
    yield Text(
        f"The run ended before the crash: the day's loss was {lost}, the limit {run.status.limits['daily_loss']:.0%}. "
        "BTC falls at about 01:31, 12 to 13 s after the start: make demo SECONDS=20",
        "yellow",
    )


def _compared(run: Observed) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    table.add_row("", *(Text(head, "dim") for head in ("tradewatch", "exchange")), "")
    for what, ours, theirs in _rows(run):
        if ours is None:
            verdict = Text("? unknown to tradewatch", "yellow")
        elif ours == theirs:
            verdict = Text("✓ equal", "green")
        else:
            verdict = Text(f"✗ differs by {spelled.amount(ours - theirs)}", "bold red")
        table.add_row(what, spelled.amount(ours), spelled.amount(theirs), verdict)
    return table


def _rows(run: Observed) -> Iterator[tuple[str, Decimal | None, Decimal]]:
    """What is compared, tradewatch's figure (None where unknown), and the exchange's."""
    (account,) = run.books["accounts"].values()
    books, orders = run.status.portfolio, run.status.orders
    never = sum(orders.get(status, 0) for status in ("refused", "rejected"))
    yield "orders taken", Decimal(sum(orders.values()) - never), Decimal(len(account["orders"]))
    yield "fills", Decimal(books.fills), Decimal(len(account["trades"]))
    ours = {total.currency: total.amount for total in books.fees}
    for currency in sorted({*ours, *account["fees"]}):
        yield f"fees, {currency}", ours.get(currency, Decimal(0)), Decimal(account["fees"].get(currency, "0"))
    held = {position.symbol: position for position in books.positions}
    for symbol, position in account["positions"].items():
        mine = held.get(symbol)
        yield f"held, {symbol}", mine.amount if mine else None, Decimal(position["amount"])
        if position["average_cost"] is not None:
            yield "  average cost", mine.average if mine else None, Decimal(position["average_cost"])
        yield "  realised", mine.realized if mine else None, Decimal(position["realised"])
    worth = account["equity_at_last_quote"]["value"]
    if worth is not None:
        yield "equity at the last price seen", books.equity.value, Decimal(worth)
    logged = [each for each in run.requests if each["received_sim_ns"] >= run.status.since_ns]
    yield "HTTP requests", None if run.attempts is None else Decimal(run.attempts), Decimal(len(logged))


def _sent(run: Observed) -> Iterator[RenderableType]:
    status, breaker = run.status, run.status.breaker
    calls = sum(each.calls for each in status.operations)
    errors = {kind: n for kind, n in status.errors.items() if kind != "refused"}
    said = ", ".join(f"{n} {kind}" for kind, n in sorted(errors.items())) or "none"
    refused = f", {breaker.refused} of them orders refused before anything was sent" if breaker.refused else ""
    yield Text(f"{calls} calls{refused}. Errors: {said}.")
    if run.actions:
        late = [each for each in run.requests if each["operation"] == "order_place" and _halted_at(run, each)]
        if late:
            yield Text(f"✗ {len(late)} orders arrived while it was halted; they were on their way before.", "yellow")
        else:
            yield Text("✓ no order reached the exchange while it was halted (from its own request log).", "green")
    cpu = status.overhead_cpu
    yield Text(
        f"tradewatch itself: {'not measured yet' if cpu is None else f'{cpu:.0%} of a core'}, with rules evaluated "
        f"{run.ready['speed']:g} times as often as in real time."
    )


def _halted_at(run: Observed, request: dict[str, Any]) -> bool:
    before = [action.after for at_ns, action in run.actions if at_ns < request["received_sim_ns"]]
    return bool(before) and before[-1] == "HALTED"


def _next(run: Observed) -> Iterator[RenderableType]:
    yield _heading("where to look next")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("examples/market_maker.py", Text("the bot: plain ccxt, not a word of tradewatch", "dim"))
    table.add_row("examples/rehearsal.py", Text("the one line that watches it: tradewatch.instrument(bot, ...)", "dim"))
    table.add_row(run.status.telemetry.endpoint or "", Text("what Prometheus read while it ran", "dim"))
    table.add_row("docs/rules.md", Text("the rules and limits, and how to write your own", "dim"))
    table.add_row("docs/paper.md", Text("the paper exchange, and how to have it fail", "dim"))
    yield table


def _heading(title: str) -> RenderableType:
    return Group(Text(), Heading(Text(title, "bold cyan"), align="left", style="dim cyan"))


def _two(price: str) -> str:
    return f"{Decimal(price):,.2f}"


def _trade(trade: dict[str, Any]) -> str:
    did = "bought" if trade["side"] == "BUY" else "sold"
    return f"{did} {trade['quantity']} BTC at {_two(trade['price'])}"
