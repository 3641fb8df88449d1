"""How soon the interpreter changes hands is the bot's own affair, but for as long as somebody is answered."""

import os
import socket
import sys
import threading

import pytest

import tradewatch
from tradewatch.control.eager import Eager


@pytest.fixture(autouse=True)
def interval():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def test_it_is_sooner_while_anybody_is_served_and_as_before_afterwards():
    eager = Eager()
    seen = []
    with eager:
        seen.append(sys.getswitchinterval())
        with eager:
            seen.append(sys.getswitchinterval())
        seen.append(sys.getswitchinterval())
    assert seen == [pytest.approx(0.0005)] * 3
    assert sys.getswitchinterval() == 0.005


def test_what_the_bot_sets_meanwhile_stays():
    eager = Eager()
    with eager:
        sys.setswitchinterval(0.02)
    assert sys.getswitchinterval() == pytest.approx(0.02)


def test_a_bot_that_wants_it_sooner_still_keeps_its_own():
    sys.setswitchinterval(0.0001)
    own = sys.getswitchinterval()
    for _ in range(100):
        with Eager():
            assert sys.getswitchinterval() == own
    assert sys.getswitchinterval() == own


@pytest.mark.parametrize("seconds", [0.0007, 0.001, 0.00123, 0.005, 0.0333, 0.3])
def test_it_does_not_wear_off(seconds):
    sys.setswitchinterval(seconds)
    own = sys.getswitchinterval()
    for _ in range(100):
        with Eager():
            assert sys.getswitchinterval() < own
    assert sys.getswitchinterval() == own


def test_many_threads_leave_it_as_it_was():
    eager = Eager()

    def often():
        for _ in range(200):
            with eager:
                pass

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sys.getswitchinterval() == 0.005


def test_requests_of_any_kind_leave_it_as_it_was(tmp_path, until):
    def answered(line):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(20)
            asking.connect(str(tmp_path / "state" / "tradewatch.sock"))
            if line is None:  # gone before it said anything
                return
            asking.sendall(line)
            assert asking.makefile().readline().startswith("{")

    with tradewatch.instrument(object(), name="grid", port=None, state_dir=tmp_path / "state"):
        for line in (b'{"command": "status"}\n', b'{"command": "halt", "reason": "x"}\n', b"none\n", None):
            answered(line)
        until(lambda: sys.getswitchinterval() == 0.005)


def test_a_forked_child_has_the_bots_own():
    eager = Eager()
    with eager:
        child = os.fork()
        if child == 0:
            eager.forked()
            os._exit(0 if sys.getswitchinterval() == 0.005 else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
