"""Whole programs without a word of tradewatch in them: examples, subprocesses, workers, and who else is loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


SECRETS = {"binance": "paper-secret", "kraken": "cGFwZXItc2VjcmV0"}


@pytest.fixture
def crash(venue_name):
    """The recorded day of the flash crash as a process; its URL. The crash comes after 30 s: a bot is up by then."""
    command = [
        sys.executable,
        "-m",
        "tradewatch.cli",
        "paper",
        "--json",
        "--start",
        "2023-03-03T00:00Z",
        "--speed",
        "150",
        "--balance",
        "BTC=1,USDT=1000",
        "--venue",
        venue_name,
        "--account",
        f"paper-key:{SECRETS[venue_name]}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.communicate()


def requests(url):
    import urllib.request

    with urllib.request.urlopen(f"{url}/paper/requests") as answer:
        return json.load(answer)


def orders_at(url):
    return [request for request in requests(url) if request["operation"] in ("order_place", "add_order")]


@pytest.mark.parametrize(("example", "venue_name"), [("market_maker.py", "binance"), ("rebalancer.py", "kraken")])
def test_examples_are_halted_by_the_crash_and_stay_halted(crash, program, example, venue_name):
    assert "tradewatch" not in (EXAMPLES / example).read_text().lower()
    account = {"EXCHANGE_SECRET": SECRETS[venue_name]}
    # On Kraken ccxt waits a second before each request, so that a round takes four.
    bot = program(EXAMPLES / example, crash, arguments=("--seconds", "90", "--pause", "0.05"), **account)
    said = []
    for line in bot.process.stderr:
        said.append(line)
        if "tradewatch refused create_order" in line:
            break
    bot.process.terminate()
    bot.process.communicate(timeout=60)
    assert "by DailyLoss" in said[-1], said
    placed = orders_at(crash)
    assert placed
    _, err = program(
        EXAMPLES / example, crash, arguments=("--seconds", "2", "--pause", "0.05", "--hold", "0.2"), **account
    ).end()
    assert "by DailyLoss" in err
    assert orders_at(crash) == placed


def test_the_demo_runs_unchanged(program):
    bot = program(
        EXAMPLES / "demo.py", arguments=("--seconds", "18"), OTEL_SERVICE_NAME="demo", PYTHONPATH=str(EXAMPLES)
    )
    out, err = bot.end()
    assert "HALTED" in out
    assert "DailyLoss" in out
    assert "Traceback" not in err


CHILD = """
exchange = client()
first = order(exchange)
status = watch().status()
say(first=first, folder=status.state_folder, endpoint=status.telemetry.endpoint, notes=status.notes)
sys.stdin.readline()
until(lambda: order(exchange) is not None)
say(state=watch().status().breaker.state, refused=order(exchange))
sys.stdin.readline()
until(lambda: order(exchange) is None)
say(state=watch().status().breaker.state)
"""


def test_a_subprocess_that_trades_is_halted_with_its_parent_and_fights_for_nothing(venue, program, tmp_path):
    place = venue()
    parent = program(
        """
        import subprocess
        exchange = client()
        order(exchange)
        from pathlib import Path
        child = subprocess.Popen([sys.executable, "child.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        def tell(): child.stdin.write("go\\n"); child.stdin.flush()
        def heard(): return json.loads(child.stdout.readline())
        say(mine=watch().status().telemetry.endpoint is not None, child=heard())
        watch().halt("news", by="me")
        tell()
        say(child=heard())
        watch().resume("looked")
        tell()
        say(child=heard())
        child.wait()
        """,
        place.url,
        child=CHILD,
    )
    said = parent.said()
    assert said["mine"]
    assert said["child"]["first"] is None
    assert (said["child"]["folder"], said["child"]["endpoint"]) == (None, None)
    assert any("what halts that one halts this one" in note for note in said["child"]["notes"])
    halted = parent.said()["child"]
    assert halted["state"] == "HALTED"
    assert "by me: news" in halted["refused"]
    assert parent.said()["child"] == {"state": "ACTIVE"}
    _, err = parent.end()
    assert "Traceback" not in err


def test_a_subprocess_that_starts_while_halted_is_halted(venue, program, tmp_path):
    place = venue()
    parent = program(
        """
        import subprocess
        exchange = client()
        order(exchange)
        watch().halt("news", by="me")
        done = subprocess.run([sys.executable, "child.py"], capture_output=True, text=True)
        say(out=done.stdout, err=done.stderr)
        """,
        place.url,
        child="say(refused=order(client()))",
    )
    said = parent.said()
    assert "by me: news" in json.loads(said["out"])["refused"]
    assert "has it open" in said["err"]
    assert len(place.orders()) == 1


def test_a_failing_instrumentor_of_another_library_leaves_the_bot_its_gate(venue, program, tmp_path):
    """Without our distro: `opentelemetry-instrument` then gives up on all that follow."""
    site = tmp_path / "site"
    (site / "broken-1.0.dist-info").mkdir(parents=True)
    (site / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (site / "broken-1.0.dist-info" / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\nbroken = broken:Instrumentor\n"
    )
    (site / "broken.py").write_text(
        "class Instrumentor:\n    def instrument(self, **kw):\n        raise RuntimeError('no')\n"
    )
    body = "exchange = client()\norder(exchange)\nwatch().halt('news')\nimport requests\n" + (
        "say(refused=order(exchange), other=hasattr(requests.Session.send, '__wrapped__'))"
    )
    for distro in ("none", "tradewatch"):
        bot = program(body, venue().url, PYTHONPATH=str(site), OTEL_PYTHON_DISTRO=distro)
        said = bot.said()
        assert "halted since" in said["refused"]
        assert said["other"] or distro == "none"
        bot.end()


EXPLICIT = """
import tradewatch

class Bot:
    def __init__(self):
        self.exchange = client()

bot = Bot()
stray = client()
"""


def test_an_explicit_instrument_takes_over_and_nothing_is_counted_twice(venue, program, tmp_path):
    place = venue()
    bot = program(
        EXPLICIT
        + """
bot.exchange.fetch_time()
stray.fetch_time()
automatic = watch()
automatic.halt("news", by="me")
mine = tradewatch.instrument(bot, state_dir="explicit", port=0, limits={"daily_loss": 0.02})
assert tradewatch.instrument(bot) is mine is watch()
bot.exchange.fetch_time()
stray.fetch_time()
status = mine.status()
say(
    refused=[order(bot.exchange), order(stray)], calls={o.operation: o.calls for o in status.operations},
    limit=status.limits["daily_loss"], clients=len(status.clients), bot=status.bot,
    threads=sorted(t.name for t in threading.enumerate() if t.name.startswith("tradewatch")),
)
mine.resume("looked")
say(placed=[order(bot.exchange), order(stray)])
tradewatch.shutdown()
say(wrapped=hasattr(ccxt.binance.fetch2, "__tradewatch_original__"), after=order(stray))
        """,
        place.url,
    )
    said = bot.said()
    assert all("by me: news" in each for each in said["refused"])
    assert said["calls"] == {"fetch_time": 2}
    assert (said["limit"], said["clients"], said["bot"]) == (0.02, 2, "Bot")
    assert said["threads"] == ["tradewatch-control", "tradewatch-safety", "tradewatch-scrape", "tradewatch-service"]
    assert bot.said() == {"placed": [None, None]}
    assert bot.said() == {"wrapped": False, "after": None}
    assert bot.end() == ("", "")
    assert len(place.orders()) == 3


def test_an_explicit_instrument_before_any_call_is_all_there_ever_is(venue, program, tmp_path):
    body = EXPLICIT + "tradewatch.instrument(bot, state_dir='explicit', port=0)\nsay(refused=order(stray))\nwatch()"
    bot = program(body, venue().url)
    assert bot.said() == {"refused": None}
    assert bot.end() == ("", "")
    assert not (tmp_path / "state").exists()


def test_an_explicit_instrument_that_fails_leaves_the_process_watched(venue, program):
    bot = program(
        EXPLICIT
        + """
order(stray)
watch().halt("news", by="me")
try:
    tradewatch.instrument(bot, limits={"daily_los": 1})
except ValueError as error:
    say(error=str(error), refused=order(stray), state=watch().status().breaker.state)
        """,
        venue().url,
    )
    said = bot.said()
    assert "nearest: daily_loss" in said["error"]
    assert "by me: news" in said["refused"]
    assert said["state"] == "HALTED"


def test_the_instrumentors_own_way_on_and_off(venue, program):
    bot = program(
        """
        from tradewatch.autoload import CcxtInstrumentor
        exchange = client()
        order(exchange)
        watch().halt("news")
        refused = order(exchange)
        CcxtInstrumentor().uninstrument()
        say(refused=refused, after=order(exchange), wrapped=hasattr(ccxt.binance.fetch2, "__tradewatch_original__"))
        CcxtInstrumentor().instrument()
        say(state=(order(exchange), watch().status().breaker.state)[1])
        """,
        venue().url,
    )
    said = bot.said()
    assert "halted since" in said["refused"]
    assert (said["after"], said["wrapped"]) == (None, False)
    assert bot.said() == {"state": "HALTED"}
    assert bot.end() == ("", "")


def test_a_halted_program_is_resumed_by_its_name(venue, program, tmp_path):
    place = venue()
    first = program("order(client()); watch().halt('news'); say(ready=True)", place.url, TRADEWATCH_STATE_DIR=None)
    assert first.said() == {"ready": True}
    first.end()
    resume = "import tradewatch; tradewatch.instrument(object(), name='bot', port=None).resume('looked at it')"
    environment = os.environ | {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": ""}
    subprocess.run([sys.executable, "-c", resume], env=environment, check=True, timeout=60)
    second = program("say(refused=order(client()))", place.url, TRADEWATCH_STATE_DIR=None)
    assert second.said() == {"refused": None}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing(venue, program, method):
    """Forked after the halt, or spawned anew: none of them trades, none of them hangs, each ends by itself."""
    place = venue()
    bot = program(
        f"""
        import multiprocessing, requests
        exchange = client() if __name__ == "__main__" else None

        def begin():
            if exchange is not None:
                exchange.session = requests.Session()  # its parent's connections are not a child's to use

        def work(number):
            return order(exchange or client())

        if __name__ == "__main__":
            first = order(exchange)
            with multiprocessing.get_context("{method}").Pool(2, begin) as pool:
                before = pool.map(work, range(4))
            watch().halt("news", by="me")
            with multiprocessing.get_context("{method}").Pool(2, begin) as pool:
                say(first=first, before=before, after=pool.map(work, range(4)))
        """,
        place.url,
    )
    said = bot.said()
    assert (said["first"], said["before"]) == (None, [None] * 4)
    assert all("by me: news" in refused for refused in said["after"])
    bot.end()
    assert len(place.orders()) == 5


@pytest.mark.parametrize("explicit", [True, False])
def test_nested_loops(venue, program, explicit):
    """As notebooks run them: a loop that is run again inside itself, while calls are under way."""
    place = venue()
    bot = program(
        f"""
        import asyncio, ccxt.async_support, nest_asyncio, tradewatch
        nest_asyncio.apply()

        async def refused(exchange):
            try:
                await exchange.create_order("BTC/USDT", "market", "buy", 1)
            except ccxt.InvalidOrder as error:
                return str(error)

        async def main():
            exchange = client(ccxt.async_support.binance)
            if {explicit}:
                tradewatch.instrument(exchange, state_dir="explicit", port=0)
            running = asyncio.ensure_future(exchange.fetch_ticker("BTC/USDT"))
            await asyncio.sleep(0)
            first = asyncio.run(refused(exchange))
            await running
            watch().halt("news")
            second = asyncio.run(refused(exchange))
            calls = {{o.operation: (o.calls, o.errors) for o in watch().status().operations}}
            await exchange.close()
            say(first=first, second=second, calls=calls)

        asyncio.run(main())
        """,
        place.url,
    )
    said = bot.said()
    assert said["first"] is None
    assert "halted since" in said["second"]
    assert said["calls"] == {"fetch_ticker": [1, 0], "create_order": [2, 1]}
    assert len(place.orders()) == 1
    assert "Traceback" not in bot.end()[1]
