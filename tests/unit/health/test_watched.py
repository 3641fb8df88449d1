"""Log files and other processes: there, missing, gone, come again, another one with the same pid, hidden."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tradewatch.health.proc import PROC, TICKS_S
from tradewatch.health.watched import LogFiles, WatchedProcesses

ON_LINUX = pytest.mark.skipif(not PROC.exists(), reason="there is no /proc here")
BOOTED_S = 1_000_000
UP, CPU, MEMORY = "tradewatch.process.up", "tradewatch.process.cpu.time", "tradewatch.process.memory.usage"


def test_sizes_of_log_files(tmp_path, told):
    there, empty, missing = (str(tmp_path / name) for name in ("a.log", "b.log", "c.log"))
    (tmp_path / "a.log").write_bytes(b"x" * 1234)
    (tmp_path / "b.log").touch()
    files = LogFiles([there, empty, missing])
    assert files.sizes == {there: None, empty: None, missing: None}
    assert told(files.look()) == {
        ("tradewatch.log_file.size", there): 1234, ("tradewatch.log_file.size", empty): 0
    }  # fmt: skip
    assert files.sizes == {there: 1234, empty: 0, missing: None}
    os.rename(there, missing)
    assert told(files.look()) == {
        ("tradewatch.log_file.size", missing): 1234, ("tradewatch.log_file.size", empty): 0
    }  # fmt: skip
    assert files.sizes == {there: None, empty: 0, missing: 1234}


def test_what_is_no_file_has_no_size(tmp_path, told):
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path), str(tmp_path / "pipe"), os.devnull]
    files = LogFiles(paths)
    assert told(files.look()) == {}
    assert files.sizes == dict.fromkeys(paths)


@pytest.fixture
def pid_file(tmp_path):
    """A file that names a pid, written so many seconds after the fake host was started."""
    path = tmp_path / "it.pid"

    def write(text, after_boot_s=20.0):
        path.write_text(text)
        os.utime(path, (BOOTED_S + after_boot_s,) * 2)

    write.path = str(path)
    return write


def test_a_process_of_a_pid_file(fake_proc, pid_file, told):
    fake_proc.process(812, "redis-server", user=300, system=200, started=1_500)
    pid_file("812\n")
    watched = WatchedProcesses([], [pid_file.path], fake_proc.folder)
    assert watched.up == {pid_file.path: None}
    assert told(watched.look()) == {
        (UP, pid_file.path): 1, (CPU, pid_file.path): 0, (MEMORY, pid_file.path): 50 * os.sysconf("SC_PAGE_SIZE"),
    }  # fmt: skip
    assert watched.up == {pid_file.path: True}
    fake_proc.process(812, "redis-server", user=350, system=250, started=1_500)
    assert told(watched.look())[CPU, pid_file.path] == pytest.approx(100 * TICKS_S)


def test_it_is_down_when_it_or_its_file_is_gone_or_it_waits_to_be_buried(fake_proc, pid_file, told):
    watched = WatchedProcesses([], [pid_file.path], fake_proc.folder)
    down = {(UP, pid_file.path): 0}
    assert told(watched.look()) == down
    assert watched.up == {pid_file.path: False}
    pid_file("812")
    assert told(watched.look()) == down
    fake_proc.process(812, "redis-server", state="Z")
    assert told(watched.look()) == down


def test_another_process_with_the_pid_that_a_file_names_is_not_it(fake_proc, pid_file, told):
    pid_file("812", after_boot_s=20)
    watched = WatchedProcesses([], [pid_file.path], fake_proc.folder)
    fake_proc.process(812, "redis-server", started=round(19 / TICKS_S))
    assert told(watched.look())[UP, pid_file.path] == 1
    fake_proc.process(812, "vim", started=round(60 / TICKS_S))
    assert told(watched.look()) == {(UP, pid_file.path): 0}


def test_cpu_time_goes_on_over_a_restart(fake_proc, pid_file, told):
    pid_file("812")
    watched = WatchedProcesses([], [pid_file.path], fake_proc.folder)
    seen = []
    for pid, ticks, started in ((812, 1000, 900), (812, 1100, 900), (813, 30, 3_000), (813, 80, 3_000)):
        fake_proc.process(pid, "redis-server", user=ticks, started=started)
        pid_file(str(pid), after_boot_s=40)
        seen.append(round(told(watched.look())[CPU, pid_file.path] / TICKS_S))
    assert seen == [0, 100, 100, 150]
    fake_proc.end(813)
    assert told(watched.look()) == {(UP, pid_file.path): 0}


@pytest.mark.parametrize("text", ["", "not a pid\n", "\x00\x01", "12x", "-812", "+812", "8_12"])
def test_a_file_without_a_pid_is_neither_up_nor_down(fake_proc, pid_file, told, text):
    fake_proc.process(812, "redis-server")
    pid_file(text)
    watched = WatchedProcesses([], [pid_file.path], fake_proc.folder)
    assert told(watched.look()) == {}
    assert watched.up == {pid_file.path: None}


def test_a_pipe_or_a_folder_for_a_pid_file_is_neither_and_keeps_nobody_waiting(fake_proc, tmp_path, told):
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / "pipe"), str(tmp_path)]
    watched, seen = WatchedProcesses([], paths, fake_proc.folder), []
    looking = threading.Thread(target=lambda: seen.append(told(watched.look())), daemon=True)
    looking.start()
    looking.join(30)
    assert seen == [{}]
    with open(tmp_path / "pipe", "r+b", buffering=0):  # somebody has it open, and has written nothing
        assert told(watched.look()) == {}
    assert watched.up == dict.fromkeys(paths)


def test_where_other_users_processes_are_hidden_nothing_is_said_of_one_that_is_not_seen(fake_proc, pid_file, told):
    fake_proc.end(1)
    fake_proc.process(700, "mine")
    pid_file("812")
    watched = WatchedProcesses(["mine", "postgres"], [pid_file.path], fake_proc.folder)
    assert {key[1] for key in told(watched.look())} == {"mine"}
    assert watched.up == {"mine": True, "postgres": None, pid_file.path: None}


def test_without_proc_nothing_is_said(empty, pid_file, told):
    pid_file("812")
    watched = WatchedProcesses(["postgres"], [pid_file.path], empty)
    assert told(watched.look()) == {}
    assert watched.up == {"postgres": None, pid_file.path: None}


def test_those_of_one_name_are_added_up_and_one_that_ends_takes_nothing_away(fake_proc, told):
    watched = WatchedProcesses(["postgres"], [], fake_proc.folder)
    for pid, ticks in ((10, 100), (11, 200), (12, 5)):
        fake_proc.process(pid, "postgres", user=ticks, started=pid)
    page = os.sysconf("SC_PAGE_SIZE")
    assert told(watched.look()) == {(UP, "postgres"): 1, (CPU, "postgres"): 0, (MEMORY, "postgres"): 150 * page}
    fake_proc.process(10, "postgres", user=150, started=10)
    fake_proc.end(11)
    found = told(watched.look())
    assert (round(found[CPU, "postgres"] / TICKS_S), found[MEMORY, "postgres"]) == (50, 100 * page)
    for pid in (10, 12):
        fake_proc.end(pid)
    assert told(watched.look()) == {(UP, "postgres"): 0}
    fake_proc.process(20, "postgres", user=7, started=99)
    assert round(told(watched.look())[CPU, "postgres"] / TICKS_S) == 50


def test_names_are_whole_and_long_ones_are_not_taken_for_each_other(fake_proc, told):
    fake_proc.process(10, "redis-server")
    fake_proc.process(11, "very-long-progr", arguments=("/opt/very-long-program-a", "--x"))
    fake_proc.process(12, "odd) name (R")
    names = ["redis", "redis-server", "very-long-program-a", "very-long-program-b", "odd) name (R"]
    found = told(WatchedProcesses(names, [], fake_proc.folder).look())
    assert {key[1]: value for key, value in found.items() if key[0] == UP} == {
        "redis": 0, "redis-server": 1, "very-long-program-a": 1, "very-long-program-b": 0, "odd) name (R": 1,
    }  # fmt: skip


def test_a_pid_that_becomes_another_program_is_noticed_within_a_minute(fake_proc, told):
    fake_proc.process(10, "sh")
    watched = WatchedProcesses(["postgres"], [], fake_proc.folder)
    assert told(watched.look()) == {(UP, "postgres"): 0}
    fake_proc.process(10, "postgres")
    looks = [told(watched.look())[UP, "postgres"] for _ in range(6)]
    assert looks[-1] == 1


def test_a_program_that_is_none_of_ours_is_read_once(fake_proc, told):
    fake_proc.process(10, "sh")
    watched = WatchedProcesses(["postgres"], [], fake_proc.folder)
    told(watched.look())
    (fake_proc.folder / "10" / "stat").write_text("this would fail")
    assert sum(each is None for each in watched.look()) == 1


@pytest.fixture
def sleeper(tmp_path):
    """A process of a name of its own, and its pid file."""
    program = tmp_path / f"tw{os.getpid()}"
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (tmp_path / "it.pid").write_text(f"{process.pid}\n")
    yield process, program.name, str(tmp_path / "it.pid")
    process.stdin.close()
    process.wait(20)


@ON_LINUX
def test_a_real_process_by_name_and_by_file_is_as_psutil_sees_it(sleeper, told, until):
    process, name, file = sleeper
    theirs = psutil.Process(process.pid)
    until(lambda: theirs.name() == name and theirs.status() == psutil.STATUS_SLEEPING)
    watched = WatchedProcesses([name, "no such program"], [file])

    def equal():
        found, rss = told(watched.look()), theirs.memory_info().rss
        # The kernel sums up by the CPU, exactly for one file and roughly for the other.
        return found if all(abs(found[MEMORY, each] - rss) < 2 << 20 for each in (name, file)) else None

    found = until(equal)
    assert (found[UP, name], found[UP, file], found[UP, "no such program"]) == (1, 1, 0)
    assert [each.pid for each in psutil.process_iter() if each.name() == name] == [process.pid]
    process.stdin.close()
    process.wait(20)
    assert told(watched.look()) == {(UP, name): 0, (UP, file): 0, (UP, "no such program"): 0}


@ON_LINUX
def test_a_real_process_that_began_after_the_file_was_written_is_not_it(sleeper, told):
    _, _, file = sleeper
    os.utime(file, (time.time() - 3_600,) * 2)
    assert told(WatchedProcesses([], [file]).look()) == {(UP, file): 0}
