"""An operator at three in the morning: what is cut off, full, damaged, gone, or done twice at once."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from contextlib import suppress

import pytest


def test_two_halts_at_once_are_both_kept_and_one_is_in_force(bots):
    bots.start("grid")
    codes = []
    shells = [
        threading.Thread(target=lambda by=by: codes.append(bots.run("halt", "grid", "--reason", by, "--by", by)[0]))
        for by in ("anna", "ben")
    ]
    for shell in shells:
        shell.start()
    for shell in shells:
        shell.join(60)
    assert codes == [0, 0]
    first, second = bots.json("audit", "grid")
    assert {first["reason"], second["reason"]} == {"anna", "ben"}
    assert [(each["before"], each["after"]) for each in (first, second)] == [("ACTIVE", "HALTED"), ("HALTED", "HALTED")]
    breaker = bots.json("status", "grid")["breaker"]
    assert (breaker["state"], breaker["reason"]) == ("HALTED", first["reason"])


@pytest.mark.parametrize("reason", [b"\xff\xfe news", "x" * 100_000, "two\nlines\x1b[31m", "", " \n"])
def test_a_halt_passes_whatever_is_in_its_reason(bots, reason):
    bots.start("grid")
    done = subprocess.run(
        [bots.command, "halt", "grid", "--reason", reason],
        env=bots.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    breaker = bots.json("status", "grid")["breaker"]
    assert breaker["state"] == "HALTED"
    assert breaker["reason"][-4:] in ("news", "xxxx", "[31m", "iven")  # an empty one is 'no reason given'


def test_nobody_writes_lines_into_the_audit_or_draws_on_the_terminal_of_whoever_reads_it(bots):
    bots.start("grid")
    forged = "2026-11-21 19:00:00 UTC resume by root (control), HALTED → ACTIVE: all is well"
    code, said, _ = bots.run(
        "halt", "grid", "--by", "anna\x1b[2J", "--reason", f"\x1b]0;title\x07\u202enews\n{forged}\r\n\x9b2J"
    )
    assert code == 0
    shown = f"\ufffd]0;title\ufffd\ufffdnews {forged} \ufffd2J"
    assert re.fullmatch(rf"by anna\ufffd\[2J \(.+\): {re.escape(shown)}", said.splitlines()[1])
    code, said, _ = bots.run("audit", "grid")
    [line] = said.splitlines()
    assert line.endswith(f" (control), ACTIVE → HALTED: {shown}")
    assert "\x1b" not in bots.run("status", "grid")[1]


def test_a_folder_that_the_system_refuses_is_said_to_be_so(bots, tmp_path):
    loop, long = tmp_path / "loop", "x" * 300
    loop.symlink_to(loop)
    for command in ("halt", "resume"):
        for folder in (loop, tmp_path / long):
            code, said, complaint = bots.run(command, "--state-dir", folder, "--reason", "x")
            assert (code, said) == (1, "")
            assert complaint.startswith(f"Error: no bot can be reached in {folder}: ")
    assert bots.run("audit", "--state-dir", tmp_path / long)[::2] == (
        1, f"Error: nothing was ever kept in {tmp_path / long}\n"
    )  # fmt: skip
    code, said, complaint = bots.run("audit", long)
    assert (code, said) == (3, "")
    assert complaint.startswith(f"Error: no bot '{long}' runs here")


@pytest.mark.parametrize("why", ["", "  "])
def test_a_resumption_without_a_reason_changes_nothing(bots, why):
    bots.start("grid", "watch.halt('x'); time.sleep(600)")
    code, said, complaint = bots.run("resume", "grid", "--reason", why)
    assert (code, said, complaint) == (1, "", "Error: grid: a reason is needed, for whoever looks later\n")
    assert bots.json("status", "grid")["breaker"]["state"] == "HALTED"


def test_output_that_takes_nothing_is_said_and_is_no_traceback(bots):
    bots.start("grid")
    shell = {"env": bots.environment, "stderr": subprocess.PIPE, "text": True, "timeout": 60, "check": False}
    with open("/dev/full", "w") as full:
        done = subprocess.run([bots.command, "halt", "grid", "--reason", "x"], stdout=full, **shell)
    assert (done.returncode, done.stderr) == (1, "Error: not all could be printed: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([bots.command, "status", "grid", "--json"], stdout=writing, **shell)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    line = f"{bots.command} resume grid --reason x >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], env=bots.environment, timeout=60, check=False).returncode == 0
    assert [each["asked"] for each in bots.json("audit", "grid")] == ["halt", "resume"]


def test_top_ends_with_whoever_reads_it(bots):
    """As `tradewatch top | head -2`, and not with the next line: by this bot's slow clock that is hours away."""
    bots.start(
        "grid",
        """
        from tradewatch.runtime.clock import ScaledClock
        tradewatch.uninstrument(bot)
        slow = ScaledClock(10 * 10**9, 0.001, time.time_ns())
        watch = tradewatch.instrument(bot, name="grid", port=None, clock=slow)
        print("slow", flush=True)
        time.sleep(600)
        """,
    ).stdout.readline()
    top = subprocess.Popen(
        [bots.command, "top", "grid"], env=bots.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    bots.started.append(top)
    while " ACTIVE " not in top.stdout.readline():
        assert top.poll() is None
    top.stdout.close()
    assert top.wait(30) == 1
    assert top.stderr.read() == ""
    top.stdout = None


def test_what_an_output_cannot_spell_is_left_out_and_the_rest_is_there(bots):
    bots.start("grid", "watch.halt('zu spät'); time.sleep(600)")
    code, said, complaint = bots.run("audit", "grid", PYTHONIOENCODING="ascii")
    assert (code, complaint) == (0, "")
    assert said.endswith(" halt by operator (program), ACTIVE ? HALTED: zu sp?t\n")


def test_a_bot_that_has_used_up_its_descriptors_is_halted(bots):
    bots.start(
        "grid",
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        kept = []
        def take():
            try:
                while True:
                    kept.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return
        def leak():
            while True:
                take()
                time.sleep(0.02)
        take()
        threading.Thread(target=leak, daemon=True).start()
        print("none left", flush=True)
        time.sleep(600)
        """,
    ).stdout.readline()
    # The first one has what was set aside when nobody asked yet.
    for number in range(3):
        assert bots.json("halt", "grid", "--reason", f"{number}")["confirmed"]
    assert [each["reason"] for each in bots.json("audit", "grid")] == ["0", "1", "2"]


def test_a_halt_waits_its_turn_where_many_ask_at_once(bots, tmp_path):
    """As those that a monitor left behind, while the bot was stuck."""
    with socket.socket(socket.AF_UNIX) as crowded, contextlib.ExitStack() as waiting:
        crowded.bind(str(tmp_path / "tradewatch.sock"))
        crowded.listen(0)
        crowded.settimeout(60)
        with contextlib.suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(tmp_path / "tradewatch.sock"))
        shell = subprocess.Popen(
            [bots.command, "halt", "--state-dir", tmp_path, "--reason", "x", "--timeout", "60"],
            env=bots.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        bots.started.append(shell)
        with pytest.raises(subprocess.TimeoutExpired):
            shell.wait(1)
        waiting.close()
        said = ""
        while not said:
            asking, _ = crowded.accept()
            with asking:
                asking.settimeout(60)
                if said := asking.makefile().readline():
                    asking.sendall(b'{"bot": "grid", "pid": 1, "error": "heard"}\n')
        assert shell.communicate(timeout=60)[1] == "Error: grid: heard\n"


def test_ctrl_c_while_a_bot_does_not_answer_says_that_nothing_is_known(bots, tmp_path):
    folder = tmp_path / "silent"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "tradewatch.sock"))
        silent.listen()
        silent.settimeout(60)
        shell = bots.begin("halt", "--state-dir", folder, "--reason", "x", "--timeout", "600")
        asking, _ = silent.accept()
        with asking:
            asking.settimeout(60)
            assert json.loads(asking.makefile().readline())["command"] == "halt"
            while shell.poll() is None:
                # One that comes right before it waits for the answer is only seen by Python after the wait.
                shell.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    shell.wait(10)
            said, complaint = shell.communicate(timeout=60)
    assert (shell.returncode, said) == (130, "")
    assert complaint == "Whether it did as it was told is not known: ask for its status.\n"


@pytest.mark.parametrize("answer", [b"", b"no json\n", b"{}\n", b"[1]\n", b'{"bot": "grid", "pid": 1}\n'])
def test_what_answers_and_is_no_bot_is_told_so(bots, tmp_path, answer):
    folder = tmp_path / "strange"
    folder.mkdir()

    def strange():
        asking, _ = listening.accept()
        with asking:
            asking.makefile().readline()
            asking.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "tradewatch.sock"))
        listening.listen()
        listening.settimeout(60)
        thread = threading.Thread(target=strange)
        thread.start()
        code, said, complaint = bots.run("halt", "--state-dir", folder, "--reason", "x")
        thread.join(60)
    assert (code, said) == ((3, "") if not answer else (1, ""))
    [line] = complaint.splitlines()
    assert line.startswith(
        "Error: the bot of " if not answer else f"Error: what answers in {folder} is no bot of this "
    )


@pytest.mark.parametrize("result", [{}, [1], {"breaker": {"state": "ACTIVE"}, "safety_alive": True}])
def test_a_bot_of_another_version_is_told_so_and_keeps_no_other_away(bots, result):
    """After an update the bots that run are those of before, until they are started again."""
    bots.start("grid")
    folder = bots.folder("old")
    folder.mkdir()
    said = json.dumps({"bot": "old", "pid": 1, "result": result}).encode() + b"\n"

    def answering():
        with suppress(OSError):
            while True:
                asking, _ = listening.accept()
                with asking:
                    asking.makefile().readline()
                    asking.sendall(said)

    with socket.socket(socket.AF_UNIX) as listening:
        descriptor = os.open(folder, os.O_RDONLY)  # the whole path may be too long for a socket
        listening.bind(f"/proc/self/fd/{descriptor}/tradewatch.sock")
        os.close(descriptor)
        listening.listen()
        thread = threading.Thread(target=answering, daemon=True)
        thread.start()
        why = "Error: old answers as another version of tradewatch does: "
        changes = (["halt", "old", "--reason", "x"], ["resume", "old", "--reason", "x"])
        for command in (["status", "old"], ["limits", "old"], ["query", "old", "up"], ["top", "old"], *changes):
            code, shown, complaint = bots.run(*command)
            assert (code, shown) == (1, "")
            lines = complaint.splitlines()
            assert lines[0].startswith(why)
            unknown = ["Whether it did as it was told is not known: ask for its status."]
            assert lines[1:] == (unknown if command in changes else [])
        code, shown, complaint = bots.run("status")
        assert code == 1
        assert [line.split()[0] for line in shown.splitlines()] == ["grid"]
        assert complaint.startswith(why)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(60)


@pytest.mark.parametrize(("then", "expected"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 0)])
def test_top_leaves_the_terminal_as_it_was_also_where_it_is_ended_while_it_draws(bots, then, expected):
    bots.start("grid")
    code, shown = bots.on_terminal("top", "grid", until="tradewatch itself", then=then)
    assert code == expected
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert "\x1b[?25h" in shown.rpartition("\x1b[?25l")[2]


def test_a_bot_whose_folder_was_removed_is_said_to_run(bots, other_home):
    process = other_home.start("grid")
    shutil.rmtree(other_home.folder("grid"))
    for shell in (bots, other_home):
        code, said, complaint = shell.run("halt", "grid", "--reason", "x")
        assert (code, said) == (3, "")
        assert f"one that cannot be reached, since its folder {other_home.folder('grid')} is not there" in complaint
    assert process.poll() is None


def damaged(path, how):
    if how == "cut":
        os.truncate(path, path.stat().st_size - 700)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "a hole":
        with sqlite3.connect(path) as log:
            log.execute(
                "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events WHERE kind = 'breaker.action') - 1"
            )
    elif how == "half a line":
        with sqlite3.connect(path) as log:
            last = "(SELECT max(seq) FROM events WHERE kind = 'breaker.action')"
            log.execute(f"UPDATE events SET body = substr(body, 1, 20) WHERE seq = {last}")


@pytest.mark.parametrize(("how", "readable"), [("cut", 2), ("empty", 0), ("a hole", 1), ("half a line", 1)])
def test_a_damaged_audit_is_said_and_what_stands_before_it_is_shown(bots, how, readable):
    process = bots.start(
        "grid",
        "watch.halt('one', by='me'); watch.resume('two', by='me'); tradewatch.shutdown(); print('over', flush=True)",
    )
    assert process.stdout.readline() == "over\n"
    process.wait(60)
    path = bots.folder("grid") / "events.db"
    assert not path.with_name("events.db-wal").exists()
    damaged(path, how)
    code, said, complaint = bots.run("audit", "grid")
    assert code == 1
    assert [line.rpartition(": ")[2] for line in said.splitlines()] == ["one", "two"][:readable]
    assert complaint.startswith("Error: this may not be all: the store at " if readable else "Error: the store at ")
    assert "the file is damaged" in complaint
    code, said, _ = bots.run("audit", "grid", "--json")
    assert (code, [each["reason"] for each in json.loads(said)]) == (1, ["one", "two"][:readable])


FILLS_ITS_DISK = """
from pathlib import Path
import msgspec
from tradewatch.store import StoreUnavailable
class Note(msgspec.Struct):
    text: str
try:
    with (Path(sys.argv[2]) / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)
except OSError:
    pass
for size in (3000, 300, 30):
    try:
        while True:
            watch._store.append("note", Note("y" * size), durable=True)
    except StoreUnavailable:
        pass
print("full", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_halt_on_a_full_disk_is_in_force_and_said_to_be_kept_in_memory_alone(bots, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tradewatch-test", folder], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    try:
        process = bots.start("grid", FILLS_ITS_DISK, state_dir=folder)
        assert process.stdout.readline() == "full\n"
        code, said, complaint = bots.run("halt", "grid", "--reason", "the news")
        assert (code, complaint) == (0, "")
        assert said.startswith("grid is HALTED\n")
        assert "not confirmed yet: not on disk: " in said
        assert "full" in said
        code, said, complaint = bots.run("resume", "grid", "--reason", "read it")
        assert (code, said) == (1, "")
        assert "not resumed" in complaint
        process.kill()
        process.wait()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
