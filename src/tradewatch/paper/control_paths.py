"""The control paths: how a running exchange is read, and how faults are put in and taken out. No signature needed.

GET /paper/books, /paper/clock, /paper/requests (`?since=SEQ`, `?format=jsonl`) and /paper/faults; POST /paper/faults
with a scenario as body adds its rules, DELETE /paper/faults takes all rules out; POST /paper/transfer moves money in or
out of an account (`?account=&currency=&amount=&fee=`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl

import msgspec
from aiohttp import web

from tradewatch.paper import control
from tradewatch.paper.errors import Refusal
from tradewatch.paper.faults import Rule
from tradewatch.paper.market import Market
from tradewatch.paper.scenario import ScenarioError, read_scenario

if TYPE_CHECKING:
    from tradewatch.paper.server import PaperServer

_PATHS = "control paths are /paper/books, /paper/requests, /paper/clock, /paper/faults and /paper/transfer\n"
_METHODS = "control paths are read with GET; /paper/faults takes POST and DELETE, /paper/transfer POST\n"


def answer(server: PaperServer, method: str, path: str, query: str, body: str) -> web.Response:
    """Answer a request of a control path."""
    if path == "/paper/faults" and method in ("POST", "DELETE"):
        return _change_faults(server, method, body)
    if path == "/paper/transfer" and method == "POST":
        return _transfer(server, query)
    if method != "GET" or path == "/paper/transfer":
        return web.Response(status=405, text=_METHODS)
    match path:
        case "/paper/books":
            shown: object = server.shown_books()
        case "/paper/clock":
            shown = control.clock(server.exchange.clock, server.wall_ns())
        case "/paper/faults":
            shown = server.faults.rules
        case "/paper/requests":
            return _requests(server, query)
        case _:
            return web.Response(status=404, text=_PATHS)
    return _json(shown)


def change_markets(markets: Collection[Market], rules: Iterable[Rule], now_ns: int) -> None:
    """Move prices and leave less depth as the rules say that are of the market; what has been stays."""
    for rule in rules:
        fault, from_ns, until_ns = rule.fault, max(rule.match.from_ns or 0, now_ns), rule.match.until_ns
        for market in markets:
            if fault.market not in (None, market.instrument.symbol):
                continue
            if fault.kind == "price_gap":
                market.gap(from_ns, until_ns, fault.factor)
            elif fault.kind == "thin_book":
                market.thin(from_ns, until_ns, max(fault.depth, market.instrument.step))


def _change_faults(server: PaperServer, method: str, body: str) -> web.Response:
    if method == "DELETE":
        server.faults.clear()
        return _json([])
    try:
        rules = read_scenario(body, "faults")
    except ScenarioError as error:
        return web.Response(status=400, text=f"{error}\n")
    change_markets(server.exchange.markets.values(), rules, server.exchange.advance())
    server.faults.add(rules)
    return _json(server.faults.rules)


def _transfer(server: PaperServer, query: str) -> web.Response:
    try:
        return _json(control.transfer(server.exchange, dict(parse_qsl(query))))
    except (ValueError, Refusal) as error:
        return web.Response(status=400, text=f"{error}\n")


def _requests(server: PaperServer, query: str) -> web.Response:
    options = parse_qs(query)
    since = options.get("since", ["0"])[0]
    if not (since.isascii() and since.isdigit()):
        return web.Response(status=400, text=f"since={since!r}; accepted is a sequence number\n")
    entries: Sequence[object] = server.log.entries[int(since) :]
    if options.get("format") == ["jsonl"]:
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        return web.Response(body=lines, content_type="application/jsonl")
    return _json(entries)


def _json(shown: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(shown), content_type="application/json")
