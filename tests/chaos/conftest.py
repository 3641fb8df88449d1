"""Bots as processes of their own, and an address that never answers."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest

_HEAD = """
import json, os, re, sys, threading, time
url, state = sys.argv[1:3]

def redirected(value):
    if isinstance(value, dict):
        return {key: redirected(item) for key, item in value.items()}
    return re.sub(r"^https?://[^/]+", url, value)

def new_client(**settings):
    import ccxt
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    client = ccxt.binance({"apiKey": "paper-key", "secret": "paper-secret", "options": options, **settings})
    client.has["fetchCurrencies"] = False
    client.urls["api"] = redirected(client.urls["api"])
    return client

class Bot:
    pass

def say(**what):
    print(json.dumps(what), flush=True)

bot = Bot()
"""
_CLIENT = """
import ccxt, tradewatch
bot.exchange = new_client()
"""
_WATCHED = """
watch = tradewatch.instrument(bot, state_dir=state, port=0)
"""


class BotProcess(subprocess.Popen):
    """A bot's process; `say(...)` in it is a line of JSON here."""

    def heard(self):
        """What it said next."""
        return json.loads(self.stdout.readline() or '{"died": true}')


@pytest.fixture
def run(tmp_path):
    """Starts a bot: with a client of an exchange at `url`, and watched, unless said."""
    started = []

    def start(body, url="http://127.0.0.1:9", watched=True, client=True, stdin=False, environment=None):
        script = tmp_path / f"bot{len(started)}.py"
        head = _HEAD + (_CLIENT if client else "") + (_WATCHED if client and watched else "")
        script.write_text(head + textwrap.dedent(body))
        process = BotProcess(
            [sys.executable, "-W", "error::ResourceWarning", str(script), url, str(tmp_path / "state")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            env=os.environ | (environment or {}),
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def hanging():
    """An address that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
