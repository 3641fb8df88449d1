"""What the environment says to a program that is run by `opentelemetry-instrument`."""

import json
import socket

import pytest

from programs import HEAD

TRADE = """
exchange = client()
said = order(exchange)
exchange.fetch_ticker("BTC/USDT")
"""
STATUS = """
status = watch().status()
say(
    bot=status.bot, calls={o.operation: o.calls for o in status.operations}, paths=[c.path for c in status.clients],
    endpoint=status.telemetry.endpoint, notes=status.telemetry.notes, limits=status.limits,
    rules=sorted({r.rule.name for r in status.rules}), folder=status.state_folder, said=said,
)
"""


def test_a_program_is_watched_and_each_call_counted_once(venue, program, tmp_path, scrape):
    place = venue()
    bot = program(TRADE + STATUS + "sys.stdin.readline()", place.url, name="rebalancer")
    said = bot.said()
    assert said["bot"] == "rebalancer"
    assert said["calls"] == {"create_order": 1, "fetch_ticker": 1}
    assert said["paths"] == ["bot.exchange"]
    assert said["folder"] == str(tmp_path / "state")
    found = scrape(said["endpoint"])
    calls = {
        dict(k)["trading_operation"]: v for (n, k), v in found.items() if n.endswith("call_duration_seconds_count")
    }
    assert calls.keys() <= {"create_order", "fetch_ticker"}
    bot.tell()
    assert bot.end() == ("", "")
    assert len(place.orders()) == 1


@pytest.mark.parametrize(
    ("variables", "bot"),
    [
        ({"OTEL_SERVICE_NAME": "grid-1"}, "grid-1"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=grid-2,a=b"}, "grid-2"),
        ({}, "main"),
    ],
)
def test_the_bot_is_named_by_the_service_else_by_the_script(venue, program, tmp_path, variables, bot):
    said = program(TRADE + STATUS, venue().url, name="main", TRADEWATCH_STATE_DIR=None, **variables).said()
    assert said["bot"] == bot
    assert said["folder"] == str(tmp_path / "home" / ".local" / "state" / "tradewatch" / bot)


@pytest.mark.parametrize(("module", "bot"), [("bots", "bots"), ("bots.grid", "grid")])
def test_a_module_that_is_run_names_the_bot_too(venue, program, collect, tmp_path, module, bot):
    """In spans as well, whose provider is made before Python has found the module."""
    (tmp_path / "bots").mkdir()
    for file in ("__init__", "__main__", "grid"):
        (tmp_path / "bots" / f"{file}.py").write_text("" if file == "__init__" else HEAD + TRADE + STATUS)
    collector = collect()
    run = program(module, venue().url, as_module=True, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert run.said()["bot"] == bot
    run.end()
    assert {resource["service.name"] for resource in collector.resources()} == {bot}


def test_settings_are_read(venue, program, tmp_path):
    rules = tmp_path / "mine.yaml"
    rules.write_text(
        "groups:\n- name: mine\n  rules:\n  - alert: Mine\n"
        '    expr: trading_pnl_daily < -tradewatch_limit{limit=~"daily_loss|drawdown"}\n'
    )
    variables = {"TRADEWATCH_LIMITS": "daily_loss=0.02, drawdown=0.5", "TRADEWATCH_RULES": str(rules)}
    said = program(TRADE + STATUS, venue().url, **variables).said()
    assert (said["limits"]["daily_loss"], said["limits"]["drawdown"]) == (0.02, 0.5)
    assert said["rules"] == ["Mine"]


BROKEN = {
    "limit": ({"TRADEWATCH_LIMITS": "daily_los=0.02,drawdown=0.5"}, "nearest: daily_loss"),
    "limit's value": ({"TRADEWATCH_LIMITS": "daily_loss=2%,drawdown=0.5"}, "IS NOT IN FORCE, the default is"),
    "limit of no rule": (
        {"TRADEWATCH_LIMITS": "overhead=0.5,drawdown=0.5", "TRADEWATCH_RULES": "good.yaml"},
        "limit overhead: none of the rules reads it",
    ),
    "port": ({"TRADEWATCH_PORT": "http", "TRADEWATCH_LIMITS": "drawdown=0.5"}, "accepted: 0 (any that is free)"),
    "port's size": ({"TRADEWATCH_PORT": "70000", "TRADEWATCH_LIMITS": "drawdown=0.5"}, "port 70000 IS NOT IN FORCE"),
    "rules": ({"TRADEWATCH_RULES": "bad.yaml", "TRADEWATCH_LIMITS": "drawdown=0.5"}, "bad.yaml:1"),
    "no rules": ({"TRADEWATCH_RULES": "none.yaml", "TRADEWATCH_LIMITS": "drawdown=0.5"}, "none.yaml"),
    "folder": ({"TRADEWATCH_STATE_DIR": "bad.yaml/state", "TRADEWATCH_LIMITS": "drawdown=0.5"}, "bad.yaml"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_a_broken_setting_is_said_and_the_bot_is_watched_all_the_same(venue, program, tmp_path, which):
    (tmp_path / "bad.yaml").write_text("groups: 7\n")
    rule = "{alert: DailyLoss, expr: 'vector(1) > on() tradewatch_limit{limit=~\"d.*\"}'}"
    (tmp_path / "good.yaml").write_text(f"groups:\n- name: mine\n  rules: [{rule}]\n")
    variables, expected = BROKEN[which]
    bot = program(TRADE + STATUS, venue().url, **variables)
    said = bot.said()
    assert said["limits"]["daily_loss"] == 0.03
    assert said["limits"]["drawdown"] == 0.5
    assert "DailyLoss" in said["rules"]
    assert said["said"] is None
    _, err = bot.end()
    assert expected in err
    assert "Traceback" not in err


def test_a_taken_port_is_said_and_other_instrumentors_go_on(venue, program):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        body = TRADE + STATUS + "import requests; say(other=hasattr(requests.Session.send, '__wrapped__'))"
        bot = program(body, venue().url, TRADEWATCH_PORT=str(taken.getsockname()[1]))
        said = bot.said()
        assert said["endpoint"] is None
        assert bot.said() == {"other": True}
        assert "cannot be used" in bot.end()[1]


@pytest.mark.parametrize("names", ["ccxt", "tradewatch", "requests, ccxt", "*"])
def test_a_disabled_instrumentation_leaves_ccxt_alone(venue, program, tmp_path, names):
    body = (
        TRADE
        + "wrapped = hasattr(ccxt.binance.fetch2, '__tradewatch_original__')\n"
        + "say(wrapped=wrapped, threads=threading.active_count(), said=said)"
    )
    bot = program(body, venue().url, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=names)
    assert bot.said() == {"wrapped": False, "threads": 1, "said": None}
    assert bot.end() == ("", "")
    assert not (tmp_path / "state").exists()


def test_a_program_without_an_exchange_has_nothing_of_ours(program, tmp_path):
    body = "import threading, os; print(threading.active_count(), len(os.listdir('/proc/self/fd')))"
    assert program(body, head=False).end() == ("1 4\n", "")
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "home").exists()


def test_with_the_sdk_disabled_no_telemetry_leaves_and_the_halt_holds(venue, program, collect):
    collector = collect()
    body = TRADE + STATUS + "watch().halt('news'); say(refused=order(exchange))"
    bot = program(body, venue().url, OTEL_SDK_DISABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    said = bot.said()
    assert said["endpoint"] is None
    assert said["notes"] == ["OTEL_SDK_DISABLED is set: no telemetry; rules and halts go on"]
    assert said["calls"] == {"create_order": 1, "fetch_ticker": 1}
    assert "halted since" in bot.said()["refused"]
    bot.end()
    assert collector.raw == []


OTHER = """
import urllib.request
from opentelemetry import metrics, trace
with trace.get_tracer("strategy").start_as_current_span("decide"):
    exchange.fetch_ticker("BTC/USDT")
metrics.get_meter("strategy").create_counter("decisions").add(3)
"""


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER=otlp", "only the endpoint"])
def test_spans_of_all_instrumentations_go_where_otlp_points(venue, program, collect, variable):
    collector = collect()
    variables = {} if variable == "only the endpoint" else {"OTEL_TRACES_EXPORTER": "otlp"}
    bot = program(TRADE + OTHER, venue().url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables)
    bot.end()
    spans = {span.name: span for span in collector.spans()}
    logical = [s for s in collector.spans() if s.name == "fetch_ticker binance"]
    assert len(logical) == 2
    assert {s.parent_span_id for s in logical} == {b"", spans["decide"].span_id}
    assert "create_order binance" in spans
    names = {r["service.name"] for r in collector.resources()}
    assert names == {"bot"}


def test_metrics_go_to_what_is_named_and_to_nothing_else(venue, program, collect):
    collector = collect()
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "otlp", "TRADEWATCH_PORT": None}
    bot = program(TRADE + OTHER + STATUS + "time.sleep(0.5)", venue().url, **variables)
    assert bot.said()["endpoint"] is None
    bot.end()
    names = {
        metric.name
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"decisions", "trading.exchange.call.duration", "trading.orders"} <= names


def test_none_exports_nothing(venue, program, collect):
    collector = collect()
    none = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"), "none")
    bot = program(
        TRADE + OTHER + STATUS, venue().url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, TRADEWATCH_PORT=None, **none
    )
    assert bot.said()["endpoint"] is None
    bot.end()
    assert collector.raw == []


def test_console_prints_spans_and_metrics(venue, program):
    console = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"), "console")
    out, err = program(TRADE + OTHER + "time.sleep(0.5)", venue().url, TRADEWATCH_PORT=None, **console).end()
    assert err == ""
    decoder, found = json.JSONDecoder(), []
    while out.strip():
        value, end = decoder.raw_decode(out.lstrip())
        found.append(value)
        out = out.lstrip()[end:]
    assert {"decide", "create_order binance", "fetch_ticker binance"} <= {each.get("name") for each in found}
    assert "trading.exchange.call.duration" in json.dumps(found)


def test_prometheus_by_name_serves_the_bots_own_metrics_too(venue, program, scrape):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        "TRADEWATCH_PORT": None,
    }
    body = TRADE + OTHER + "time.sleep(0.5); say(ready=True); sys.stdin.readline()"
    bot = program(body, venue().url, **variables)
    bot.said()
    names = {name for name, _ in scrape(f"http://127.0.0.1:{port}/metrics")}
    assert {"decisions_total", "trading_exchange_call_duration_seconds_count"} <= names


def test_an_exporter_that_there_is_none_of_is_said(venue, program):
    _, err = program(TRADE, venue().url, OTEL_TRACES_EXPORTER="consol").end()
    assert "OTEL_TRACES_EXPORTER='consol': not exported to it" in err
    assert "console" in err
    assert "Traceback" not in err


def test_spans_of_a_forked_child_arrive_when_it_ends(venue, program, collect):
    collector = collect()
    body = """
    from opentelemetry import trace
    trace.get_tracer("strategy").start_span("in the parent").end()
    child = os.fork()
    if child == 0:
        trace.get_tracer("strategy").start_span("in the child").end()
        sys.exit(0)
    say(code=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    bot = program(body, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="60000")
    assert bot.said() == {"code": 0}
    assert [span.name for span in collector.spans()] == ["in the child"]
    bot.end()
    assert [span.name for span in collector.spans()] == ["in the child", "in the parent"]


def test_spans_that_never_arrived_are_in_the_status(venue, program):
    """Also where the provider is the process's, which is there before its watch and outlives it."""
    body = """
    exchange = client()
    for _ in range(40):
        exchange.fetch_ticker("BTC/USDT")
    dropped = until(lambda: watch().status().telemetry.dropped)
    say(dropped=[(d.signal, d.kind, d.reason) for d in dropped])
    """
    variables = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces", "OTEL_BSP_MAX_QUEUE_SIZE": "10"}
    assert program(body, venue().url, **variables).said()["dropped"] == [["spans", "other", "full"]]
