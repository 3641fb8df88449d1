"""Fixture `program`: programs run by `opentelemetry-instrument`, as processes of their own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import json, os, re, sys, threading, time
import ccxt

URL = os.environ["EXCHANGE_URL"]

def redirected(value):
    if isinstance(value, dict):
        return {key: redirected(item) for key, item in value.items()}
    return re.sub(r"^https?://[^/]+", URL, value)

def client(kind=None):
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    settings = {"apiKey": "paper-key", "secret": "paper-secret", "options": options, "enableRateLimit": False}
    made = (kind or ccxt.binance)(settings)
    made.has["fetchCurrencies"] = False
    made.urls["api"] = redirected(made.urls["api"])
    return made

def say(**what):
    print(json.dumps(what), flush=True)

def order(exchange):
    try:
        exchange.create_order("BTC/USDT", "market", "buy", 1)
    except ccxt.InvalidOrder as error:
        return str(error)

def watch():
    from tradewatch import registry
    watches = [watch for _, watch, *_ in registry._watches.values()]
    assert len(watches) == 1, watches
    return watches[0]

def until(statement, seconds=15):
    ends = time.monotonic() + seconds
    while not (found := statement()):
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.01)
    return found
"""


class Program:
    """A program that runs; `said` is the next line of JSON that it said."""

    def __init__(self, process):
        self.process = process

    def said(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"it ended with {self.process.wait(20)}: {self.process.stderr.read()}")
        return json.loads(line)

    def tell(self, text="go"):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self, code=0):
        """Wait for its end; what it said since, and what stands on its standard error."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == code, err
        return out, err


@pytest.fixture
def program(tmp_path):
    """Starts programs; the environment is the tests' less OpenTelemetry's and ours, with the homes in `tmp_path`."""
    started = []

    def start(
        body,
        url="http://127.0.0.1:9",
        *,
        python=sys.executable,
        name="bot",
        arguments=(),
        head=True,
        child=None,
        as_module=False,
        **environment,
    ):
        script = ("-m", body) if as_module else (body,)
        if not isinstance(body, Path) and not as_module:
            script = (tmp_path / f"{name}.py",)
            script[0].write_text((HEAD if head else "") + textwrap.dedent(body))
        if child is not None:
            (tmp_path / "child.py").write_text(HEAD + textwrap.dedent(child))
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TRADEWATCH_", "XDG_", "PYTHON"))
        }
        chosen = {
            "HOME": str(tmp_path / "home"),
            "EXCHANGE_URL": url,
            "EXCHANGE_KEY": "paper-key",
            "EXCHANGE_SECRET": "paper-secret",
            "OTEL_PYTHON_DISTRO": "tradewatch",
            "OTEL_PYTHON_CONFIGURATOR": "tradewatch",
            "TRADEWATCH_PORT": "0",
            "TRADEWATCH_STATE_DIR": str(tmp_path / "state"),
        }
        settings = {k: v for k, v in (inherited | chosen | environment).items() if v is not None}
        process = subprocess.Popen(
            [Path(python).parent / "opentelemetry-instrument", python, *script, *map(str, arguments)],
            env=settings,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Program(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
