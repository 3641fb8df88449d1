"""What the bot does: one sequence of calls of every shape, over a socket to a paper exchange, timed from outside."""

import asyncio
import contextlib
import contextvars
import re
import threading
import time
from datetime import datetime

SYMBOL = "BTC/USDT"
START_NS = int(datetime.fromisoformat("2023-03-03T00:00+00:00").timestamp()) * 10**9
# What happens to which request: an answer of 429, and another when it is tried again; one of 503; none at all.
FAULTS = (
    ({"operation": "ticker_24hr", "nth": (2, 3)}, {"kind": "rate_limit"}),
    ({"operation": "depth", "nth": (2,)}, {"kind": "server_error", "status": 503}),
    ({"operation": "time"}, {"kind": "timeout", "hold_s": 30.0}),
)


@contextlib.contextmanager
def exchange():
    """The URL of a paper exchange whose price stands, and its clock."""
    from tradewatch import paper
    from tradewatch.paper import candles, faults
    from tradewatch.runtime.clock import ScaledClock

    clock = ScaledClock(START_NS, 1.0, time.time_ns())
    rows = [f"{START_NS // 10**6 + n * 60_000},100,100,100,100,4" for n in range(30)]
    record = candles.read_candles(["open_time,open,high,low,close,volume", *rows], "rows")
    account = paper.Account("paper-key", "paper-secret", {"BTC": "100", "USDT": "1000000"})
    venue = paper.Exchange([paper.Market(SYMBOL, record, 20)], [account], clock, None)
    rules = [faults.Rule(faults.Match(**match), faults.Fault(**fault)) for match, fault in FAULTS]
    roomy = paper.Limits(1_000_000, 100_000, 1_000_000)
    with paper.serve_in_thread(venue, faults=faults.Faults(rules), limits=roomy) as server:
        yield server, clock


def redirected(value, url):
    if isinstance(value, dict):
        return {key: redirected(item, url) for key, item in value.items()}
    return re.sub(r"^https?://[^/]+", url, value)


class Trader:
    """A bot with a client of ccxt's, sync or async; it makes spans of its own with `tracer`.

    Attributes:
        steps: (name, start, end, calls) of what was done in turn, in epoch nanoseconds as the bot sees them.
        inside: whether the bot's own code within the client makes spans.
    """

    def __init__(self, kind, url, tracer):
        self.kind, self.tracer = kind, tracer
        self.steps, self.inside = [], False
        self.exchange = self._client(url)

    def _client(self, url):
        import ccxt
        import ccxt.async_support

        bot, cls = self, (ccxt if self.kind == "sync" else ccxt.async_support).binance

        class Own(cls):
            """The bot's own class: spans where a request is signed, and where its answer has come."""

            def sign(self, *args, **kwargs):
                with bot.own("sign"):
                    return super().sign(*args, **kwargs)

            def handle_errors(self, *args, **kwargs):
                with bot.own("look for errors"):
                    pass
                return super().handle_errors(*args, **kwargs)

        options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "maxRetriesOnFailure": 1}
        given = {"apiKey": "paper-key", "secret": "paper-secret", "rateLimit": 1, "options": options}
        if self.kind == "async":
            given["timeout_on_exit"] = 0
        client = Own(given)
        client.has["fetchCurrencies"] = False
        client.urls["api"] = redirected(client.urls["api"], url)
        return client

    def own(self, name):
        return self.tracer.start_as_current_span(name) if self.inside else contextlib.nullcontext()

    def trade(self, settled=lambda calls: None):
        """All steps; after each third of them `settled` is told how many calls there were so far."""
        asyncio.run(self._trade(settled))

    async def _trade(self, settled):
        client = self.exchange
        try:
            await self._reads_and_orders(client)
            settled(self.calls)
            await self._errors(client)
            settled(self.calls)
            await self._at_once(client)
            settled(self.calls)
        finally:
            if self.kind == "async":
                await client.close()
            else:
                client.session.close()

    @property
    def calls(self):
        return sum(calls for *_, calls in self.steps)

    async def step(self, name, make, calls=1, raises=None):
        """Does something that makes so many calls, timed from outside; what it raised, or gave."""
        start_ns = time.time_ns()
        try:
            found = make()
            found = await found if asyncio.iscoroutine(found) else found
        except (Exception, asyncio.CancelledError) as error:
            found = error
        self.steps.append((name, start_ns, time.time_ns(), calls))
        assert (type(found).__name__ if isinstance(found, BaseException) else None) == raises, found
        return found

    async def _reads_and_orders(self, client):
        await self.step("markets first", lambda: client.fetch_ticker(SYMBOL))
        await self.step("a read", client.fetch_balance)
        with self.tracer.start_as_current_span("decide"):
            await self.step("a read within", lambda: client.fetch_order_book(SYMBOL))
            order = lambda: client.create_order(SYMBOL, "market", "buy", 1)  # noqa: E731
            await self.step("an order within", order)
        self.inside = True
        await self.step("spans within", client.fetch_balance)
        limit = await self.step("a limit", lambda: client.create_order(SYMBOL, "limit", "buy", 2, 50))
        self.inside = False
        await self.step("open orders", lambda: client.fetch_open_orders(SYMBOL))
        await self.step("a cancel", lambda: client.cancel_order(limit["id"], SYMBOL))

    async def _errors(self, client):
        await self.step("limited", lambda: client.fetch_ticker(SYMBOL), raises="DDoSProtection")
        with self.tracer.start_as_current_span("goes on"):
            large = lambda: client.create_order(SYMBOL, "market", "sell", 5_000)  # noqa: E731
            await self.step("refused by the venue", large, raises="InsufficientFunds")
        self.inside = True
        unknown = lambda: client.cancel_order("4711", SYMBOL)  # noqa: E731
        await self.step("unknown", unknown, raises="OrderNotFound")
        self.inside = False
        await self.step("tried again", lambda: client.fetch_order_book(SYMBOL))
        # Long enough for nothing else, and no answer comes.
        client.timeout, was = 150, client.timeout
        client.options["maxRetriesOnFailure"] = 0
        await self.step("no answer", client.fetch_time, raises="RequestTimeout")
        client.timeout = was

    async def _at_once(self, client):
        def threads():
            def made(context):
                return threading.Thread(target=context.run, args=(client.fetch_ticker, SYMBOL))

            with self.tracer.start_as_current_span("threads"):
                each = [made(contextvars.copy_context()) for _ in range(3)]
                each.append(threading.Thread(target=client.fetch_ticker, args=(SYMBOL,)))
                for thread in each:
                    thread.start()
                for thread in each:
                    thread.join()

        async def tasks():
            with self.tracer.start_as_current_span("tasks"):
                await asyncio.gather(*(client.fetch_ticker(SYMBOL) for _ in range(4)))

        async def cancelled():
            task = asyncio.create_task(client.fetch_time())
            await asyncio.sleep(0.1)
            task.cancel()
            await task

        if self.kind == "sync":
            await self.step("at once", threads, 4)
        else:
            await self.step("at once", tasks, 4)
            await self.step("cancelled", cancelled, raises="CancelledError")
