"""One run of the bot, watched by tradewatch or written down by hand."""

import tempfile

from parity.naive import Naive
from parity.trading import Trader, exchange


def watched(kind, tracers, meters, settled=lambda watch, calls: None, tracer=None, **settings):
    """Has tradewatch watch the bot, until the end; the bot. A provider that is None is tradewatch's own.

    `tracer` is for the bot's own spans, unless it has them from the provider.

    `settled` is given the watch and how many calls there were so far, thrice; and with None in place of the watch
    once nothing is watched any more.
    """
    import tradewatch

    with exchange() as (server, clock), tempfile.TemporaryDirectory() as folder:
        tracer = tracer or tracers.get_tracer("bot")
        trader = Trader(kind, server.url, tracer)
        settings = {"name": "bot", "port": 0, "state_dir": folder, "clock": clock, **settings}
        watch = tradewatch.instrument(trader, tracer_provider=tracers, meter_provider=meters, **settings)
        try:
            trader.trade(lambda calls: settled(watch, calls))
        finally:
            tradewatch.shutdown()
        settled(None, trader.calls)
        return trader


def by_hand(kind, tracers, meters, extra, tracer=None):
    """The reference, with the attributes `extra` on everything; the bot."""
    with exchange() as (server, _):
        trader = Trader(kind, server.url, tracer or tracers.get_tracer("bot"))
        Naive(tracers, meters, extra).instrument(trader.exchange)
        trader.trade()
        return trader
