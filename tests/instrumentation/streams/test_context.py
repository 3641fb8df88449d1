"""Each message's work runs under its own context, not under the span of the call that opened the connection."""

import asyncio

import ccxt.pro
import pytest
from opentelemetry import trace
from opentelemetry.context import get_current

KINDS = ["binance", "kraken"]


def noting(kind):
    """A bot's own subclass that notes the context that its messages come in."""

    class Mine(getattr(ccxt.pro, kind)):
        def handle_message(self, client, message):
            self.__dict__.setdefault("contexts", []).append(dict(get_current()))
            super().handle_message(client, message)

        def on_connected(self, client, message=None):
            self.connected_in = dict(get_current())
            super().on_connected(client, message)

    return Mine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("watched_first", [True, False], ids=["watched first", "connected first"])
def test_messages_do_not_run_under_the_span_that_opened_their_connection(
    kind, watched_first, places, pointed, make_bot, watch_over, application, running_clock
):
    tracer = application.tracers.get_tracer("bot")

    async def run():
        async with places(kind, clock=running_clock, moving=True) as place:
            client = place.client(pointed, noting(kind))
            bot = make_bot(client)
            try:
                if watched_first:
                    watch_over(bot, clock=running_clock, **application.settings)
                with tracer.start_as_current_span("start-up"):
                    await client.watch_ticker(place.symbol)
                    assert trace.get_current_span().name == "start-up"
                if not watched_first:
                    # So it is with ccxt alone.
                    assert {} not in client.contexts
                    watch_over(bot, clock=running_clock, **application.settings)
                    client.contexts.clear()
                for _ in range(3):
                    await client.watch_ticker(place.symbol)
                assert len(client.contexts) >= 3
                assert (client.connected_in == {}) is watched_first
                assert all(context == {} for context in client.contexts)
            finally:
                await client.close()

    asyncio.run(run())


def test_what_a_message_sets_off_is_a_trace_of_its_own(
    places, pointed, make_bot, watch_over, application, running_clock, eventually
):
    tracer = application.tracers.get_tracer("bot")

    async def run():
        async with places("binance", clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            watch_over(make_bot(client), clock=running_clock, **application.settings)
            try:
                await client.load_markets()
                with tracer.start_as_current_span("start-up") as outer:
                    # ccxt asks for a snapshot when the first message of the stream has come.
                    await client.watch_order_book(place.symbol)
                [call] = await eventually(
                    lambda: [s for s in application.spans() if s.name == "fetch_order_book binance"]
                )
                assert call.parent is None
                assert call.context.trace_id != outer.get_span_context().trace_id
            finally:
                await client.close()

    asyncio.run(run())
