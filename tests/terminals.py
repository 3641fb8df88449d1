"""Terminals with nothing around them: a network namespace with a loopback of its own, a home of its own, a clone."""

import fcntl
import json
import os
import pty
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from pages import ROOT

# Loopback is down in a new namespace; ioctl(2) with SIOCSIFFLAGS, netdevice(7). Then it waits for the end of its input.
_HOLD = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
print("up", flush=True)
sys.stdin.read()
"""
# Executes pieces of Python, one a line of JSON on standard input, in one module; says how each went.
_PIECES = """
import ast, asyncio, json, sys, traceback
from inspect import CO_COROUTINE

async def main():
    names = {"__name__": "__main__"}
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            code = compile(json.loads(line), "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            awaited = eval(code, names)
            if code.co_flags & CO_COROUTINE:
                await awaited
        except BaseException:
            traceback.print_exc()
            print("\\n-- failed --", flush=True)
        else:
            print("\\n-- done --", flush=True)

asyncio.run(main())
"""
LONG_S = 90.0  # for whatever is waited for; nothing here takes more than seconds


class Machine:
    """Whoever is in it sees no bot, no port and no network but its own; `clone` is the folder of a fresh clone."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tradewatch-pages-"))
        self.clone = self.folder / "tradewatch"
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", _HOLD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.refused = None if self._holder.stdout.readline() == "up\n" else self._holder.stderr.read().strip()
        (self.folder / "home").mkdir()
        (self.clone / ".venv").mkdir(parents=True)
        kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in sorted({line.partition("/")[0] for line in kept.splitlines()}):
            (self.clone / name).symlink_to(ROOT / name)
        # As `make` leaves it: newer than what it is made of.
        for path in Path(sys.prefix).iterdir():
            if path.name != ".ready":
                (self.clone / ".venv" / path.name).symlink_to(path)
        (self.clone / ".venv" / ".ready").touch()
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TRADEWATCH_", "XDG_", "PYTHON"))
        }
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            inherited.pop(name, None)
        self.environment = inherited | {
            "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder),
            "TERM": "xterm-256color",
        }

    def inside(self, *command):
        return [
            "nsenter", "--user", "--net", "--preserve-credentials", f"--target={self._holder.pid}", "--", *command,
        ]  # fmt: skip

    def close(self):
        self._holder.communicate()
        shutil.rmtree(self.folder)


class Ended(AssertionError):  # noqa: N818 - it names what happened
    """A command ended otherwise than it should."""


class Shell:
    """A shell whose commands run one after the other, as somebody types them; `cd` and `export` last."""

    def __init__(self, machine, folder):
        self._process = subprocess.Popen(
            machine.inside("bash"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=machine.environment, cwd=folder, start_new_session=True,
        )  # fmt: skip

    def run(self, command):
        """Exit code, and what was printed on either output."""
        mark = f"-- {time.monotonic_ns()} --"
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{mark}' $?\n".encode())
        self._process.stdin.flush()
        said, ends = b"", time.monotonic() + LONG_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (end := re.search(rb"\n?" + mark.encode() + rb" (\d+)\n$", said)):
                more = os.read(self._process.stdout.fileno(), 65536) if selector.select(1.0) else None
                if more == b"" or time.monotonic() > ends:
                    raise Ended(f"{command}: no end; it said {said.decode(errors='replace')}")
                said += more or b""
        return int(end[1]), said[: end.start()].decode(errors="replace")

    def close(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class Served:
    """A command that runs on a terminal of its own (100 by 40) until Ctrl-C."""

    def __init__(self, machine, command):
        self.command = command
        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, b"\x28\x00\x64\x00\x00\x00\x00\x00")
        self._process = subprocess.Popen(
            machine.inside("bash", "-c", command), stdin=terminal, stdout=terminal, stderr=terminal,
            env=machine.environment, cwd=machine.clone, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )  # fmt: skip
        os.close(terminal)
        self._main, self._raw = main, b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                more = os.read(self._main, 65536)
            except OSError:  # nobody has the other end any more
                return
            self._raw += more

    @property
    def said(self):
        """What it has shown so far, without colours."""
        plain = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", self._raw)
        return plain.decode(errors="replace").replace("\r\n", "\n")

    def until(self, shown):
        """Wait until it has shown what the expression says."""
        ends = time.monotonic() + LONG_S
        while not re.search(shown, self.said):
            if self._process.poll() is not None or time.monotonic() > ends:
                raise Ended(f"{self.command}: never showed {shown}; it said {self.said[-3000:]}")
            time.sleep(0.05)

    def end(self):
        """Ctrl-C; then what it said in all."""
        ends = time.monotonic() + LONG_S
        os.write(self._main, b"\x03")
        while self._process.poll() is None:
            if time.monotonic() > ends:
                raise Ended(f"{self.command}: Ctrl-C did not end it; it said {self.said[-3000:]}")
            time.sleep(0.05)
        self._reader.join()
        return self.said

    def close(self):
        # Gently at first: the demo ends its exchange, which has a session of its own.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process.wait()
        self._reader.join()
        os.close(self._main)


class Session:
    """A Python that executes one piece of a page after the other, all in one module; `await` stands where it likes."""

    def __init__(self, machine):
        self._process = subprocess.Popen(
            machine.inside(sys.executable, "-c", _PIECES), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=machine.environment, cwd=machine.clone, start_new_session=True,
        )  # fmt: skip

    def run(self, code):
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line == "-- done --\n":
                return
            said.append(line)
            if line == "-- failed --\n":
                break
        raise Ended("".join(said))

    def close(self):
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
