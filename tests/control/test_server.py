"""The socket of a bot in this process: what is asked of it badly, who keeps silent, and what stands in its way."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

import tradewatch


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def watch(folder):
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder) as made:
        yield made


@pytest.fixture
def connect(folder):
    opened = []

    def connection():
        made = socket.socket(socket.AF_UNIX)
        opened.append(made)
        made.connect(str(folder / "tradewatch.sock"))
        made.settimeout(20)
        return made

    yield connection
    for each in opened:
        each.close()


def said(connection, line=b""):
    if line:
        connection.sendall(line)
    answer = json.loads(connection.makefile("rb").readline())
    assert (answer.pop("bot"), answer.pop("pid")) == ("grid", os.getpid())
    return answer


def test_a_user_without_a_home_reaches_a_bot_by_its_folder(folder, connect, monkeypatch):
    def none():
        raise RuntimeError("could not determine home directory")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder):
        assert said(connect(), b'{"command": "halt", "reason": "x"}\n')["result"]["state"] == "HALTED"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"halt\n", "JSON is malformed: invalid character (byte 0)"),
        (b"\n", "Input data was truncated"),
        (b"[]\n", "Expected `object`, got `array`"),
        (b"{}\n", "Object missing required field `command`"),
        (b'{"command": "explode"}\n', "Invalid value 'explode' - at `$.command`"),
        (b'{"command": "halt"}\n', "Object missing required field `reason`"),
        (b'{"command": "halt", "reason": 1}\n', "Expected `str`, got `int` - at `$.reason`"),
        (b'{"command": "resume", "reason": ""}\n', "a reason is needed, for whoever looks later"),
        (b'{"command": "hello", "x": 1}\n', "Object contains unknown field `x`"),
        (b"\xff\xfe\n", "JSON is malformed: invalid character (byte 0)"),
        (b'{"x": ' + b"[" * 60_000 + b', "command": "hello"}\n', "JSON is nested too deep"),
        (b"x" * (64 * 1024 + 1), "accepted is one line of JSON, 64 KiB at most, in 2 s"),
        (b'{"command": "query", "expr": "up +"}\n', "1:5: unexpected end of input"),
        (b'{"command": "query", "expr": "topk(1, up)"}\n', "1:1: aggregation topk is not supported"),
    ],
)
def test_a_request_that_is_none_is_told_so_and_changes_nothing(watch, connect, line, error):
    assert said(connect(), line) == {"error": error}
    assert watch.status().breaker.state == "ACTIVE"


def test_what_is_said_in_pieces_is_one_request(watch, connect):
    connection = connect()
    for part in (b'{"comm', b'and": "hal', b't", "reason": "x"', b"}"):
        connection.sendall(part)
    assert said(connection, b"\n")["result"]["state"] == "HALTED"


def test_a_reason_that_is_no_text_keeps_no_halt_away(watch, connect):
    halted = said(connect(), '{"command": "halt", "reason": "zu spät"}\n'.encode("latin-1"))["result"]
    assert (halted["state"], halted["reason"]) == ("HALTED", "zu sp\ufffdt")


def test_a_half_line_is_no_request(watch, connect):
    connection = connect()
    connection.sendall(b'{"command": "halt", "reason": "x"}')
    connection.shutdown(socket.SHUT_WR)
    assert said(connection)["error"] == "accepted is one line of JSON, 64 KiB at most, in 2 s"
    assert watch.status().breaker.state == "ACTIVE"


def test_many_who_connect_and_say_nothing_keep_nobody_waiting(watch, connect):
    silent = [connect() for _ in range(100)]
    assert said(connect(), b'{"command": "hello"}\n') == {"result": None}
    # Those that were silent longest have been sent away.
    assert silent[0].recv(1) == b""


def test_threads_that_cannot_be_had_do_not_keep_a_halt_away(watch, connect, monkeypatch):
    def none(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert said(connect(), b'{"command": "halt", "reason": "x"}\n')["result"]["state"] == "HALTED"


def test_descriptors_that_the_bot_took_from_those_set_aside_are_set_aside_again(watch, connect):
    spares = watch._control._spares
    kept = len(spares)
    while spares:
        os.close(spares.pop())
    connection = connect()
    assert said(connection, b'{"command": "hello"}\n')
    assert len(spares) == kept == 2


def test_who_goes_away_before_the_answer_is_no_failure(watch, connect):
    for _ in range(20):
        connection = connect()
        connection.sendall(b'{"command": "status"}\n')
        connection.close()
    assert said(connect(), b'{"command": "hello"}\n') == {"result": None}
    assert watch.status().failures == {}


def test_secrets_are_in_no_answer_and_in_no_audit(watch, connect, folder):
    from tradewatch.breaker import ACTION
    from tradewatch.runtime.scrub import scrubber
    from tradewatch.store import rows_of

    known = scrubber._secrets
    scrubber.learn(["s3cr3t-value"])
    try:
        request = {"command": "halt", "reason": "s3cr3t-value apiKey=abcdef", "by": "s3cr3t-value"}
        answers = [said(connect(), json.dumps(request).encode() + b"\n"), said(connect(), b'{"command": "status"}\n')]
        answers.append(said(connect(), b'{"command": "query", "expr": "\\"s3cr3t-value\\" +"}\n'))
    finally:
        scrubber._secrets = known
    assert answers[0]["result"]["reason"] == "*** apiKey=***"
    written = str(answers) + str(list(rows_of(folder, ACTION)))
    assert "s3cr3t" not in written
    assert "abcdef" not in written


def test_a_watch_that_ends_has_no_thread_and_no_socket(folder):
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder):
        assert "tradewatch-control" in [thread.name for thread in threading.enumerate()]
    assert "tradewatch-control" not in [thread.name for thread in threading.enumerate()]
    assert not (folder / "tradewatch.sock").exists()


@pytest.mark.parametrize("what", ["a file", "a folder", "a link", "a listener"])
def test_what_stands_in_its_place_stays_and_the_bot_is_watched_without(folder, what):
    folder.mkdir(parents=True)
    place = folder / "tradewatch.sock"
    listening = socket.socket(socket.AF_UNIX)
    match what:
        case "a file":
            place.write_text("mine")
        case "a folder":
            place.mkdir()
        case "a link":
            place.symlink_to("/nowhere")
        case "a listener":
            listening.bind(str(place))
            listening.listen(1)
    before = place.lstat()
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder) as watch:
        [note] = [note for note in watch.status().notes if "control socket" in note]
        why = "another process listens there" if what == "a listener" else "something that is no socket stands there"
        assert f"no shell can reach this bot: the control socket {place} cannot be made: {why}" in note
        assert watch.halt("x").state == "HALTED"
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)
    listening.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_socket_that_somebody_else_left_is_theirs_to_remove(folder):
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "tradewatch.sock"))
    os.chown(folder / "tradewatch.sock", 65534, 65534)
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder) as watch:
        [note] = [note for note in watch.status().notes if "control socket" in note]
        assert note.endswith("one of user 65534 stands there; that user has to remove it")
    assert (folder / "tradewatch.sock").is_socket()


def test_a_bot_whose_store_cannot_be_used_can_be_halted_all_the_same(folder, connect):
    folder.mkdir(parents=True)
    (folder / "events.db").mkdir()
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder) as watch:
        assert watch.status().state_folder is None
        result = said(connect(), b'{"command": "halt", "reason": "x"}\n')["result"]
        assert (result["state"], result["confirmed"]) == ("HALTED", False)
        assert result["not_confirmed"].startswith("not on disk: the store at ")


def test_a_socket_that_another_process_put_there_is_not_removed_at_the_end(folder):
    with tradewatch.instrument(object(), name="grid", port=None, state_dir=folder):
        (folder / "tradewatch.sock").unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(folder / "tradewatch.sock"))
    assert (folder / "tradewatch.sock").is_socket()
