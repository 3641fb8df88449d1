"""What was acknowledged is there after a kill; a durable row is synced before it is acknowledged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tradewatch
from tradewatch.store import Store

_APPEND = """
store = Store.open(Path(sys.argv[1]), SystemClock())
print("open", flush=True)
n = 0
while True:
    n += 1
    store.append("note", Note(str(n)), durable=sys.argv[2] == "durable")
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
"""


@pytest.mark.parametrize("how", ["durable", "quick"])
@pytest.mark.parametrize("rows", [1, 40, 900])
def test_every_row_acknowledged_before_a_kill_is_there_afterwards(folder, clock, start, texts, how, rows):
    process = start(_APPEND, folder, how)
    for _ in range(rows + 1):
        process.stdout.readline()
    process.kill()
    rest, _ = process.communicate()
    acknowledged = rows + rest.count("\n")
    store = Store.open(folder, clock)
    found = texts(store)
    store.close()
    # One more may have been written whose acknowledgement was never printed.
    assert found in ([str(n + 1) for n in range(acknowledged)], [str(n + 1) for n in range(acknowledged + 1)])
    assert not list(folder.glob("*.damaged*"))


def _traced(program: str, folder: Path, *options: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(tradewatch.__file__).parents[1])}
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write,pwrite64,ftruncate", *options]
    command += [sys.executable, "-c", program, str(folder)]
    trace = subprocess.run(command, capture_output=True, text=True, env=env, check=False).stderr
    if "<before>" not in trace:
        pytest.skip("strace may not trace here")
    return trace


def _calls(trace: str) -> list[str]:
    return [
        f"{call} {name}" for call, name in re.findall(r"^(\w+)\(\d+<[^>]*/(events\.db[\w-]*)>", trace, re.MULTILINE)
    ]


def _syncs_between_marks(folder: Path, durable: bool) -> list[str]:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom tradewatch.runtime.clock import SystemClock\n"
        "from tradewatch.store import Damaged, Store\ns = Store.open(Path(sys.argv[1]), SystemClock())\n"
        "s.append('x', Damaged('a', 'b'))\nos.write(1, b'<before>')\n"
        f"s.append('x', Damaged('a', 'b'), durable={durable})\nos.write(1, b'<after>')\nos._exit(0)\n"
    )
    return _calls(_traced(program, folder).split("<before>")[1].split("<after>")[0])


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_durable_row_is_synced_and_copied_into_the_main_file_before_it_is_acknowledged(folder):
    calls = _syncs_between_marks(folder, durable=True)
    last_log_write = max(at for at, call in enumerate(calls) if call == "pwrite64 events.db-wal")
    assert "fdatasync events.db-wal" in calls[last_log_write:] or "fsync events.db-wal" in calls[last_log_write:]
    assert calls[-1] in ("fdatasync events.db", "fsync events.db")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_row_that_need_not_be_durable_costs_no_sync(folder):
    calls = _syncs_between_marks(folder, durable=False)
    assert calls
    assert not [call for call in calls if "sync" in call]


def test_a_damaged_write_ahead_log_takes_no_durable_row_with_it(folder, clock, start, texts):
    program = (
        "s = Store.open(Path(sys.argv[1]), SystemClock())\n"
        "for n in range(5): s.append('note', Note(str(n)), durable=True)\nos.kill(os.getpid(), 9)"
    )
    start(program, folder).communicate()
    log = folder / "events.db-wal"
    assert log.stat().st_size > 0
    log.write_bytes(b"\xff" * log.stat().st_size)
    store = Store.open(folder, clock)
    assert texts(store) == ["0", "1", "2", "3", "4"]
    store.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_after_a_sync_that_failed_nothing_is_acknowledged_until_every_row_is_safe_elsewhere(folder, clock, texts):
    program = """
import os, sys
from pathlib import Path
import msgspec
from tradewatch.runtime.clock import SystemClock
from tradewatch.store import Store, StoreUnavailable
class Note(msgspec.Struct):
    text: str
store = Store.open(Path(sys.argv[1]), SystemClock())
store.append("note", Note("quick"))
os.write(1, b"<quick>")
try: store.append("note", Note("refused"), durable=True)
except StoreUnavailable as error: os.write(1, str(error).encode())
os.write(1, b"<before>")
store.append("note", Note("durable"), durable=True)
os.write(1, b"<after>")
os._exit(0)
"""
    syncs = _traced(program, folder / "counted").split("<quick>")[0].count("fdatasync(")
    trace = _traced(program, folder / "bot", "-s", "300", "-e", f"inject=fdatasync:error=EIO:when={syncs + 1}")
    assert "cannot be used: disk I/O error. Look at the disk" in trace
    calls = _calls(trace.split("<before>")[1].split("<after>")[0])
    emptied = calls.index("ftruncate events.db-wal")
    assert "fdatasync events.db" in calls[:emptied]
    assert "fdatasync events.db-wal" in calls[emptied:]
    store = Store.open(folder / "bot", clock)
    assert texts(store) == ["quick", "durable"]
    store.close()
