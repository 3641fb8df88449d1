"""Bots that are processes of their own with a home of their own, and the command line as a shell runs it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "tradewatch"
_HEAD = """
import os, sys, threading, time
import tradewatch
bot = type("Bot", (), {})()
watch = tradewatch.instrument(bot, name=sys.argv[1], port=None, state_dir=sys.argv[2] or None)
print("ready", flush=True)
"""


class Bots:
    """Starts bots and asks for them, all in one home."""

    def __init__(self, home):
        self.home = home
        self.command = COMMAND
        self.started = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TRADEWATCH_", "XDG_"))}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "TERM", "FORCE_COLOR"):
            inherited.pop(name, None)
        self.environment = inherited | {"HOME": str(home)}

    def start(self, name, body="time.sleep(600)", state_dir=""):
        """A bot that is watched and then does what the body says."""
        script = self.home / f"bot{len(self.started)}.py"
        script.write_text(_HEAD + textwrap.dedent(body))
        process = subprocess.Popen(
            [sys.executable, str(script), name, str(state_dir)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip
        self.started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    def run(self, *arguments, user=None, **environment):
        """What the command line says to these arguments: exit code, standard output, standard error."""
        done = subprocess.run(
            [COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, user=user,
            env=self.environment | environment,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def begin(self, *arguments):
        """A command that runs until somebody ends it."""
        process = subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )
        self.started.append(process)
        return process

    def json(self, *arguments):
        """What it says in JSON where all is well."""
        code, said, complaint = self.run(*arguments, "--json")
        assert code in (0, 5), complaint
        return json.loads(said)

    def loaded(self, *arguments):
        """The modules that a command loads."""
        said = self.run(*arguments, PYTHONPROFILEIMPORTTIME="1")[2]
        return {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}

    def folder(self, name):
        return self.home / ".local" / "state" / "tradewatch" / name

    def socket(self, name):
        return self.folder(name) / "tradewatch.sock"

    def on_terminal(self, *arguments, columns=80, until=None, then=signal.SIGINT, **environment):
        """Exit code and what a terminal was sent; with `until`, a signal comes once that has been shown."""
        import fcntl
        import struct
        import termios

        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 30, columns, 0, 0))
        process = subprocess.Popen(
            [COMMAND, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env=self.environment | {"TERM": "xterm-256color"} | environment,
        )  # fmt: skip
        os.close(terminal)
        self.started.append(process)
        said, ends = b"", time.monotonic() + 30
        while time.monotonic() < ends:
            if select.select([main], [], [], 0.1)[0]:
                try:
                    more = os.read(main, 65536)
                except OSError:  # nobody has the other end any more
                    break
                said += more
                if until is not None and until.encode() in said:
                    until = None
                    process.send_signal(then)
        code = process.wait(10)
        os.close(main)
        # Ctrl-C may come in the middle of a character.
        return code, said.decode(errors="replace")


@pytest.fixture
def bots(tmp_path):
    yield from _at(tmp_path)


@pytest.fixture
def other_home(tmp_path_factory):
    """Bots of another home, as those of another user are; its path is short, so that the kernel lists their sockets."""
    yield from _at(tmp_path_factory.mktemp("other"))


def _at(home):
    made = Bots(home)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
