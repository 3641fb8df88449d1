"""`tradewatch paper` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import ccxt
import pytest
from click.testing import CliRunner

from tradewatch.cli.paper import paper
from tradewatch.runtime.clock import ScaledClock

COMMAND = [sys.executable, "-m", "tradewatch.cli", "paper"]


@pytest.fixture
def start():
    """A running process and its first line."""
    running = []

    def launch(*options):
        process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline()

    yield launch
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(*options):
    result = CliRunner().invoke(paper, options)
    return result.exit_code, result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_clean(start, number):
    process, line = start("--json", "--speed", "200", "--start", "2023-03-03T01:00Z")
    ready = json.loads(line)
    assert (ready["start_ns"], ready["speed"], ready["markets"]) == (1677805200 * 10**9, 200.0, ["BTC/USDT"])
    clock = ScaledClock(ready["start_ns"], ready["speed"], ready["origin_ns"])
    with urllib.request.urlopen(ready["url"] + "/paper/clock") as answer:
        shown = json.load(answer)
    assert {key: shown[key] for key in ("start_ns", "speed", "origin_ns")} == {
        key: ready[key] for key in ("start_ns", "speed", "origin_ns")
    }
    assert 0 <= clock.now_ns() - shown["now_ns"] < 200 * 10**9
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_two_venues_in_one_process_have_books_of_their_own_and_one_clock(start, connect, connect_kraken, read):
    process, line = start("--json", "--venue", "binance", "--venue", "kraken", "--balance", "BTC=1,USDT=5000")
    urls = json.loads(line)["urls"]
    binance, kraken = (type("Server", (), {"url": urls[venue]}) for venue in ("binance", "kraken"))
    connect(binance).create_order("BTC/USDT", "market", "buy", 0.1)
    placed = connect_kraken(kraken).create_order("BTC/USDT", "market", "sell", 0.2)
    books = [read(server, "/paper/books")["accounts"]["main"] for server in (binance, kraken)]
    assert [(book["trades"][0]["side"], book["trades"][0]["fee_currency"]) for book in books] == [
        ("BUY", "BTC"), ("SELL", "USDT"),
    ]  # fmt: skip
    assert books[1]["orders"][0]["order_id"] == placed["id"]
    clocks = [read(server, "/paper/clock") for server in (binance, kraken)]
    assert clocks[0]["origin_ns"] == clocks[1]["origin_ns"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_a_secret_of_kraken_is_base64():
    assert run("--venue", "kraken", "--account", "key:no base64") == (
        1, "Error: --account number 1: a secret of kraken is base64, such as cGFwZXI=\n",
    )  # fmt: skip


def test_a_client_with_the_options_of_the_command(start, connect, tmp_path):
    scenario = tmp_path / "faults.yaml"
    scenario.write_text("rules:\n  - match: {operation: depth}\n    fault: {kind: ban}\n")
    log = tmp_path / "log.jsonl"
    process, line = start(
        "--json", "--account", "paper-key:paper-secret", "--balance", "BTC=0.5,USDT=100,EUR=3", "--spread-bp", "0",
        "--taker-fee", "0", "--scenario", str(scenario), "--log-file", str(log),
        "--candles", "random:200", "--start", "2024-01-01T00:00Z", "--seed", "4", "--depth", "0.04",
    )  # fmt: skip
    client = connect(type("Server", (), {"url": json.loads(line)["url"]}))
    assert client.fetch_balance()["total"] == {"BTC": 0.5, "USDT": 100.0, "EUR": 3.0}
    order = client.create_order("BTC/USDT", "market", "buy", 0.1)
    assert order["average"] == pytest.approx(200, rel=0.05)
    assert order["fee"]["cost"] == 0
    assert [trade["amount"] for trade in order["trades"]] == [0.04, 0.04, 0.02]
    with pytest.raises(Exception, match="418"):
        client.fetch_order_book("BTC/USDT")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    entries = [json.loads(text) for text in log.read_text().splitlines()]
    assert [entry["operation"] for entry in entries] == ["exchange_info", "account", "order_place", "depth"]


def test_a_human_line(start):
    process, line = start("--speed", "50")
    assert line.startswith("Paper exchange at http://127.0.0.1:")
    assert line.endswith(": BTC/USDT from 2023-03-03T00:50:00+00:00 at 50 x. Ctrl-C ends it.\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: --port {port}: Address already in use; accepted is a free port of 127.0.0.1, or 0 for any\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--balance", "BTC=x"], "--balance BTC=x: accepted is CODE=AMOUNT pairs with commas between, such as"),
        (["--balance", "BTC"], "--balance BTC: accepted is CODE=AMOUNT pairs with commas between, such as"),
        (["--balance", "BTC=1,BTC=2"], "--balance BTC=2: accepted is CODE=AMOUNT pairs with commas between, such as"),
        (["--balance", "BTC=-1"], "--balance BTC=-1: accepted is CODE=AMOUNT pairs with commas between, such as"),
        (["--account", "only-a-key"], "--account number 1: accepted is KEY:SECRET, neither of them empty"),
        (["--account", "a:b", "--account", "a:c"], "--account: two accounts have the same key; accepted is each"),
        (["--market", "ETH/USDT"], "--market ETH/USDT: accepted is BTC/USDT, or one --candles for each --market"),
        (["--market", "btcusdt", "--candles", "random:5"], "market 'btcusdt'; accepted is BASE/QUOTE in capitals"),
        (["--candles", "random:x"], "--candles x: accepted is random: and a first price of at least 0.01"),
        (["--candles", "random:0"], "--candles random:0: accepted is random: and a first price of at least 0.01"),
        (["--candles", "none.csv"], "none.csv: cannot read candles"),
        (["--start", "yesterday"], "--start yesterday: accepted is ISO 8601 with an offset, such as 2023-03-03T00:50Z"),
        (["--start", "2023-03-05T00:00Z"], "from 2023-03-03T00:00:00+00:00, before 2023-03-05T00:00:00+00:00"),
        (["--speed", "0"], "--speed 0.0: accepted is a number above 0, below 1000000"),
        (["--port", "70000"], "--port 70000: accepted is 0 to 65535"),
        (["--depth", "some"], "--depth some: accepted is an amount of base such as 0.5"),
        (["--depth", "0"], "BTC/USDT: depth 0.00000000; accepted is 0.00001000 and more"),
        (["--spread-bp", "-1"], "spread -1.0 bp; accepted is 0 or more, below 20000"),
        (["--maker-fee", "0.6"], "--maker-fee 0.6: accepted is a rate below 0.5, such as 0.001"),
        (["--taker-fee", "x"], "--taker-fee x: accepted is a rate such as 0.001"),
        (["--fee-price", "300"], "--fee-price 300: accepted is a price together with --fee-currency"),
        (["--fee-currency", "BNB", "--fee-price", "0"], "--fee-price 0: accepted is a decimal above 0, such as 300"),
        (["--scenario", "none.yaml"], "none.yaml: cannot read the scenario"),
        (["--log-file", "/nowhere/log"], "--log-file /nowhere/log: No such file or directory; accepted is a file"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_what_is_accepted(options, message):
    code, output = run(*options)
    assert code == 1
    assert message in output
    assert "Traceback" not in output


def test_help_has_examples():
    code, output = run("--help")
    assert code == 0
    assert "tradewatch paper --speed 200 --port 8123 --balance BTC=1,USDT=5000" in output


def test_without_aiohttp_it_says_what_to_install(tmp_path):
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError(\"No module named 'aiohttp'\")\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(COMMAND, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert result.returncode == 1
    assert "pip install aiohttp" in result.stderr


def test_the_core_needs_no_aiohttp(tmp_path):
    code = "import sys; import tradewatch.paper; print('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_perpetual_and_a_recorded_run_by_the_command(start, connect_usdm, tmp_path):
    scenario, log = tmp_path / "day.yaml", tmp_path / "requests.jsonl"
    scenario.write_text("rules: [{match: {operation: premium_index, nth: 2}, fault: {kind: maintenance}}]")
    given = ("--json", "--venue", "binanceusdm", "--balance", "USDT=500", "--funding-rate", "-0.0002")

    def rates(*options):
        process, line = start(*given, *options)
        client = connect_usdm(Served(json.loads(line)["url"]))
        client.load_markets()
        seen = []
        for _ in range(3):
            try:
                seen.append(client.fetch_funding_rate("BTC/USDT:USDT")["fundingRate"])
            except ccxt.OnMaintenance:
                seen.append("maintenance")
        balance = client.fetch_balance()["USDT"]["total"]
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        return seen, balance

    first = rates("--scenario", str(scenario), "--log-file", str(log))
    assert first == ([-0.0002, "maintenance", -0.0002], 500.0)
    assert rates("--replay", str(log)) == first
    assert run("--replay", str(tmp_path / "none"))[0] == 1
    scenario.write_text("rules: [{match: {from: 2023-03-03T01:00Z}, fault: {kind: price_gap, factor: 2, market: A/B}}]")
    assert "market A/B: accepted is BTC/USDT" in run("--scenario", str(scenario))[1]


class Served:
    """Where a running process answers."""

    def __init__(self, url):
        self.url = url
