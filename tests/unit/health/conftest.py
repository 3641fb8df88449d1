"""A folder that looks like /proc, with the files of this machine or with others, and readings as plain values."""

import shutil
from pathlib import Path

import pytest

STAT = "{pid} ({command}) {state} 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 3 0 {started} 9000 50 0"


class Proc:
    """What a test writes into it is all there is."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def process(self, pid, command, *, user=0, system=0, started=1_000, state="S", arguments=()):
        """A process: CPU time and start in ticks."""
        text = STAT.format(pid=pid, command=command, user=user, system=system, started=started, state=state)
        self.write(f"{pid}/stat", text)
        self.write(f"{pid}/cmdline", "".join(f"{each}\0" for each in (arguments or (command,))))

    def end(self, pid):
        shutil.rmtree(self.folder / str(pid))


@pytest.fixture
def fake_proc(tmp_path):
    made = Proc(tmp_path / "proc")
    made.write("uptime", "5000.00 9000.00\n")
    made.write("stat", "cpu  1 2 3 4 5 6 7 8 0 0\nbtime 1000000\n")
    made.process(1, "init", started=0)
    return made


@pytest.fixture
def told():
    """Readings as {(name, *values of attributes): value}."""

    def plain(readings):
        found = {}
        for each in readings:
            if each is not None:
                key = (each.metric.name, *(value for _, value in each.attributes))
                assert key not in found
                assert each.attributes == tuple(sorted(each.attributes))
                found[key] = each.value
        return found

    return plain


@pytest.fixture
def empty():
    """A folder that is not there."""
    return Path("/nowhere/proc")
