"""opentelemetry-distro in the same environment, which pins the versions before ours: either may be picked."""

import pytest

# The distro and the instrumentation of aiohttp stop at 0.66b1, which refuses what is later.
DISTRO = (
    "opentelemetry-api==1.45.1",
    "opentelemetry-sdk==1.45.1",
    "opentelemetry-exporter-otlp-proto-http==1.45.1",
    "opentelemetry-exporter-prometheus==0.66b1",
    "opentelemetry-distro==0.66b1",
    "opentelemetry-instrumentation==0.66b1",
    "opentelemetry-instrumentation-requests==0.66b1",
    "opentelemetry-instrumentation-aiohttp-client==0.66b1",
    "ccxt==4.5.90",
)
# The first environment is made in half a minute.
pytestmark = pytest.mark.timeout(600)

SPANS = """
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept = InMemorySpanExporter()
provider = trace.get_tracer_provider()
if hasattr(provider, "add_span_processor"):
    provider.add_span_processor(SimpleSpanProcessor(kept))

def spans():
    return sorted((s.instrumentation_scope.name, s.name) for s in kept.get_finished_spans())
"""
BOT = """
import asyncio, ccxt.async_support

async def main():
    exchange = client(ccxt.async_support.binance)
    await exchange.load_markets()
    await exchange.create_order("BTC/USDT", "market", "buy", 1)
    watch().halt("news")
    try:
        await exchange.create_order("BTC/USDT", "market", "buy", 1)
    except ccxt.InvalidOrder as error:
        refused = str(error)
    import aiohttp
    async with aiohttp.ClientSession() as session:
        await (await session.get(URL + "/paper/clock")).read()
    await exchange.close()
    return refused

refused = asyncio.run(main())
telemetry = watch().status().telemetry
say(refused=refused, owner=telemetry.providers, endpoint=telemetry.endpoint is not None, notes=telemetry.notes)
"""
PICKED = {
    "both theirs": {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"},
    "their configurator": {"OTEL_PYTHON_DISTRO": "tradewatch", "OTEL_PYTHON_CONFIGURATOR": "configurator"},
    "their distro": {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "tradewatch"},
    "both ours": {"OTEL_PYTHON_DISTRO": "tradewatch", "OTEL_PYTHON_CONFIGURATOR": "tradewatch"},
}
# An exporter that is there in all four; nothing listens.
TO_NOBODY = {
    "OTEL_TRACES_EXPORTER": "otlp_proto_http",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
}


@pytest.mark.parametrize("picked", PICKED)
def test_whichever_is_picked_the_bot_is_watched_and_no_span_is_double(environment, venue, program, picked):
    place = venue()
    body = SPANS + BOT + "time.sleep(0.5)\nsay(spans=spans())"
    bot = program(body, place.url, python=environment(*DISTRO), **PICKED[picked], **TO_NOBODY)
    said = bot.said()
    assert "halted since" in said["refused"]
    spans = [tuple(each) for each in bot.said()["spans"]]
    aiohttp = "opentelemetry.instrumentation.aiohttp_client"
    assert [each for each in spans if each[0] == aiohttp] == [(aiohttp, "GET")]
    logical = [name for scope, name in spans if scope == "tradewatch" and " " in name]
    assert logical == ["create_order binance", "create_order binance", "load_markets binance"]
    attempts = [name for scope, name in spans if scope == "tradewatch" and " " not in name]
    assert len(attempts) == len(place.log()) == 2
    _, err = bot.end()
    assert "Failed to auto initialize" not in err
    assert len(place.orders()) == 1
