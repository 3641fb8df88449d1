"""Bots that run, are stuck, stopped or dead, and the shell that halts them."""

import json
import os
import shutil
import signal
import socket
import sqlite3

import pytest

ROOT = os.geteuid() == 0


def audited(bots, name):
    """The audit without its times, oldest first."""
    entries = bots.json("audit", name)
    assert [e["seq"] for e in entries] == sorted(e["seq"] for e in entries)
    return [tuple(e[k] for k in ("asked", "by", "channel", "reason", "before", "after", "refused")) for e in entries]


@pytest.fixture
def me():
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def test_a_bot_whose_loop_is_stuck_is_halted_from_a_shell_and_stays_halted(bots, me):
    process = bots.start("grid", "while True: pass")
    assert bots.run("status", "grid", "--json")[0] == 0
    code, said, complaint = bots.run("halt", "grid", "--reason", "the news", "--by", "anna")
    assert (code, complaint) == (0, "")
    assert said.splitlines()[:2] == ["grid is HALTED", f"by anna ({me}): the news"]
    assert said.splitlines()[3:] == ["confirmed"]
    assert process.poll() is None
    process.kill()
    process.wait()
    bots.start("grid")
    status = bots.json("status", "grid")["breaker"]
    assert (status["state"], status["by"], status["reason"]) == ("HALTED", f"anna ({me})", "the news")
    assert bots.json("resume", "grid", "--reason", "read it")["state"] == "ACTIVE"
    assert audited(bots, "grid") == [
        ("halt", f"anna ({me})", "control", "the news", "ACTIVE", "HALTED", None),
        ("resume", me, "control", "read it", "HALTED", "ACTIVE", None),
    ]


def test_a_halt_refuses_the_next_order_and_a_resumption_lets_it_pass(bots, venue):
    place = venue()
    process = bots.start(
        "grid",
        f"""
        import ccxt, re
        exchange = ccxt.binance({{"apiKey": "paper-key", "secret": "paper-secret",
            "options": {{"fetchMarkets": {{"types": ["spot"]}}, "fetchMargins": False}}}})
        exchange.has["fetchCurrencies"] = False
        exchange.urls["api"] = {{k: re.sub(r"^https?://[^/]+", "{place.url}", v) if isinstance(v, str) else v
            for k, v in exchange.urls["api"].items()}}
        bot.exchange = exchange
        for _ in sys.stdin:
            try:
                print(exchange.create_order("BTC/USDT", "market", "sell", 1)["status"], flush=True)
            except ccxt.InvalidOrder as error:
                print(error, flush=True)
        """,
    )

    def order():
        process.stdin.write("order\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    assert order() == "closed"
    assert bots.run("halt", "--reason", "news")[0] == 0
    assert order().endswith("tradewatch resume NAME --reason ..., or Watch.resume(by=..., reason=...)")
    assert len(place.orders()) == 1
    assert bots.run("resume", "--reason", "read")[0] == 0
    assert order() == "closed"


def test_a_bot_answers_though_its_safety_and_service_threads_are_stuck(bots):
    bots.start(
        "grid",
        """
        watch._safety._step = lambda: time.sleep(600)
        watch._service._loop.call_soon_threadsafe(lambda: time.sleep(600))
        watch._journal.wake.set()
        time.sleep(600)
        """,
    )
    code, _, complaint = bots.run("query", "grid", "tradewatch_limit")
    assert code == 1
    assert complaint.strip() == "Error: grid: the safety thread, whose series these are, did not answer in 2 s"
    assert bots.json("halt", "grid", "--reason", "stuck")["confirmed"] is True
    assert bots.json("limits", "grid")["limits"][0]["name"] == "daily_loss"


def test_a_bot_that_is_stopped_does_not_answer_and_that_is_said(bots):
    process = bots.start("grid")
    process.send_signal(signal.SIGSTOP)
    code, said, complaint = bots.run("halt", "grid", "--reason", "x", "--timeout", "0.3")
    assert (code, said) == (4, "")
    assert complaint.splitlines() == [
        f"Error: the bot of {bots.folder('grid')} runs and did not answer in 0.3 s",
        "Whether it did as it was told is not known: ask for its status.",
    ]
    code, said, complaint = bots.run("status")
    assert (code, said) == (4, "")
    assert "did not answer" in complaint
    process.send_signal(signal.SIGCONT)
    # The halt that was asked for while it stood still is done now.
    assert bots.run("status", "grid", "--json")[0] == 5


def test_a_resumption_that_nobody_waits_for_any_more_is_not_done(bots):
    process = bots.start("grid")
    assert bots.run("halt", "grid", "--reason", "x")[0] == 0
    process.send_signal(signal.SIGSTOP)
    assert bots.run("resume", "grid", "--reason", "y", "--timeout", "0.3")[0] == 4
    process.send_signal(signal.SIGCONT)
    assert bots.run("status", "grid", "--json")[0] == 5
    assert [entry[0] for entry in audited(bots, "grid")] == ["halt"]


def test_a_bot_that_died_and_left_its_socket_does_not_run_and_the_next_one_takes_its_place(bots):
    process = bots.start("grid")
    process.kill()
    process.wait()
    assert bots.socket("grid").is_socket()
    code, _, complaint = bots.run("status")
    assert (code, complaint.splitlines()[0]) == (3, "Error: no bot runs here")
    assert bots.run("halt", "grid", "--reason", "x") == (
        3, "", f"Error: no bot runs in {bots.folder('grid')}: one that died left its socket there\n"
    )  # fmt: skip
    code, _, complaint = bots.run("halt", "--state-dir", bots.folder("grid"), "--reason", "x")
    assert (code, complaint) == (
        3, f"Error: no bot runs in {bots.folder('grid')}: one that died left its socket there\n"
    )  # fmt: skip
    bots.start("grid")
    assert "control socket" not in "".join(bots.json("status", "grid")["notes"])
    assert bots.run("halt", "--reason", "x")[0] == 0


def test_a_bot_that_ends_takes_its_socket_with_it(bots):
    process = bots.start(
        "grid", "sys.stdin.readline()\ntradewatch.shutdown()\nprint('over', flush=True)\ntime.sleep(9)"
    )
    assert bots.socket("grid").is_socket()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "over\n"
    assert not bots.socket("grid").exists()


def test_the_socket_is_its_owners_alone_whatever_the_umask(bots):
    process = bots.start("grid", "time.sleep(600)")
    found = bots.socket("grid").stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, os.geteuid())
    assert bots.folder("grid").stat().st_mode & 0o777 == 0o700
    process.kill()


def test_two_bots_of_one_name_are_told_apart_by_their_folders(bots, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    bots.start("grid")
    bots.start("grid", state_dir=elsewhere)
    for arguments in (["grid"], []):
        code, said, complaint = bots.run("halt", *arguments, "--reason", "x")
        assert (code, said) == (2, "")
        assert complaint.startswith("Error: 2 bots ")
        assert f"grid in {elsewhere}" in complaint
        assert f"grid in {bots.folder('grid')}" in complaint
    assert bots.json("halt", "--state-dir", elsewhere, "--reason", "x")["state"] == "HALTED"
    assert bots.json("status", "--state-dir", bots.folder("grid"))["breaker"]["state"] == "ACTIVE"
    code, said, _ = bots.run("status")
    assert code == 5
    assert sorted(line.split()[:2] for line in said.splitlines()) == [["grid", "ACTIVE"], ["grid", "HALTED"]]


def test_a_bot_is_found_by_its_name_wherever_its_folder_is(bots, tmp_path):
    bots.start("grid")
    bots.start("maker", state_dir=tmp_path / "elsewhere")
    assert bots.json("halt", "maker", "--reason", "x")["state"] == "HALTED"
    assert bots.json("status", "grid")["breaker"]["state"] == "ACTIVE"
    code, _, complaint = bots.run("halt", "other", "--reason", "x")
    assert code == 3
    assert "no bot 'other' runs here; those that run: grid in " in complaint
    assert f"maker in {tmp_path / 'elsewhere'}" in complaint


def test_a_folder_in_the_usual_place_does_not_make_another_name_of_it(bots):
    """The name is what the bot says it is; a folder of this name may be another bot's, or one that died left it."""
    bots.start("grid", state_dir=bots.folder("other"))
    code, _, complaint = bots.run("halt", "other", "--reason", "x")
    assert code == 3
    assert "no bot 'other' runs here; those that run: grid in " in complaint
    second = bots.start("grid")
    code, _, complaint = bots.run("halt", "grid", "--reason", "x")
    assert code == 2
    assert complaint.startswith("Error: 2 bots named 'grid' run here")
    second.kill()
    second.wait()
    assert bots.socket("grid").is_socket()
    assert bots.json("halt", "grid", "--reason", "x")["state"] == "HALTED"
    assert bots.json("status", "--state-dir", bots.folder("other"))["breaker"]["state"] == "HALTED"
    code, said, complaint = bots.run("audit", "grid")
    assert (code, said) == (2, "")
    assert f"a bot named 'grid' runs with another state folder than {bots.folder('grid')}" in complaint
    assert [each["after"] for each in bots.json("audit", "--state-dir", bots.folder("other"))] == ["HALTED"]


def test_a_state_folder_that_is_a_link_to_another_disk_is_one_bot(bots, tmp_path):
    on_disk = tmp_path / "disk" / "grid"
    on_disk.mkdir(parents=True)
    bots.folder("grid").parent.mkdir(parents=True)
    bots.folder("grid").symlink_to(on_disk)
    bots.start("grid")
    assert bots.json("halt", "grid", "--reason", "x")["state"] == "HALTED"
    assert [each["bot"] for each in bots.json("status")] == ["grid"]
    everywhere = [each["state_folder"] for each in bots.json("status", "--all")]
    assert everywhere.count(str(bots.folder("grid"))) == 1


def test_what_runs_in_another_home_is_neither_asked_nor_listed_and_can_be_reached(bots, tmp_path, other_home):
    """A bot of another home or user, of whatever name, is never the one that is meant by a name, or by none."""
    theirs = other_home.folder("grid")
    other_home.start("grid")
    for arguments in (["halt", "grid", "--reason", "x"], ["halt", "--reason", "x"], ["status"], ["status", "grid"]):
        code, said, complaint = bots.run(*arguments)
        assert (code, said) == (3, "")
        assert complaint.startswith("Error: no bot ")
    bots.start("maker")
    assert bots.json("halt", "--reason", "x")["state"] == "HALTED"
    assert [each["bot"] for each in bots.json("status")] == ["maker"]
    assert other_home.json("status", "grid")["breaker"]["state"] == "ACTIVE"
    code, _, complaint = bots.run("halt", "grid", "--reason", "x")
    assert code == 3
    assert complaint.startswith(f"Error: no bot 'grid' runs here; those that run: maker in {bots.folder('maker')}\n")
    assert "one of another home or user: --state-dir " in complaint
    everywhere = {(each["bot"], each["state_folder"]) for each in bots.json("status", "--all")}
    assert {("grid", str(theirs)), ("maker", str(bots.folder("maker")))} <= everywhere
    assert bots.json("halt", "--state-dir", theirs, "--reason", "x")["state"] == "HALTED"


def test_a_link_to_a_folder_elsewhere_goes_with_the_bot_and_with_the_folder(bots, tmp_path):
    links = bots.folder(".elsewhere")
    process = bots.start("grid", "sys.stdin.readline(); tradewatch.shutdown()", state_dir=tmp_path / "one")
    [link] = links.iterdir()
    assert link.readlink() == tmp_path / "one"
    assert [each.stat().st_mode & 0o777 for each in (links, links.parent, links.parent.parent)] == [0o700] * 3
    process.communicate("\n", timeout=60)
    assert not list(links.iterdir())
    killed = bots.start("grid", state_dir=tmp_path / "two")
    killed.kill()
    killed.wait()
    assert [each.readlink() for each in links.iterdir()] == [tmp_path / "two"]
    assert bots.run("status")[0] == 3
    shutil.rmtree(tmp_path / "two")
    bots.start("grid", state_dir=tmp_path / "one")
    assert [each.readlink() for each in links.iterdir()] == [tmp_path / "one"]
    assert bots.json("halt", "grid", "--reason", "x")["state"] == "HALTED"


def test_a_home_that_takes_no_link_leaves_the_bot_to_its_folder(bots, tmp_path):
    home = bots.folder("x").parent
    home.mkdir(parents=True)
    (home / ".elsewhere").write_text("a file")
    bots.start("grid", state_dir=tmp_path / "one")
    assert bots.run("halt", "grid", "--reason", "x")[0] == 3
    assert bots.json("halt", "--state-dir", tmp_path / "one", "--reason", "x")["state"] == "HALTED"
    assert bots.json("status", "--state-dir", tmp_path / "one")["failures"] == {}


def test_a_path_too_long_for_a_socket_is_reached_all_the_same(bots, tmp_path):
    folder = tmp_path / ("long" * 20) / ("path" * 20)
    bots.start("grid", state_dir=folder)
    assert len(os.fsencode(folder / "tradewatch.sock")) > 107
    assert (folder / "tradewatch.sock").stat().st_mode & 0o777 == 0o600
    assert bots.json("halt", "--state-dir", folder, "--reason", "x")["state"] == "HALTED"
    bots.start("maker", state_dir=bots.folder("m" * 200))
    assert bots.json("halt", "maker", "--reason", "x")["state"] == "HALTED"


def test_a_forked_child_does_not_keep_its_parents_socket(bots, monkeypatch):
    process = bots.start(
        "grid",
        """
        child = os.fork()
        if child == 0:
            time.sleep(600)
        print(child, flush=True)
        time.sleep(600)
        """,
    )
    child = int(process.stdout.readline())
    assert bots.run("halt", "grid", "--reason", "x")[0] == 0
    try:
        process.kill()
        process.wait()
        assert bots.run("status", "grid")[0] == 3
        # Its whole path may be longer than an address can be.
        monkeypatch.chdir(bots.socket("grid").parent)
        with socket.socket(socket.AF_UNIX) as asking, pytest.raises(ConnectionRefusedError):
            asking.connect(bots.socket("grid").name)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_another_user_is_refused_by_the_folder_and_by_the_bot_itself(bots, tmp_path):
    folder = tmp_path / "elsewhere"
    bots.start("grid", state_dir=folder)
    # Where the way to it is open; pytest's own folders are not.
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    from tradewatch.control.client import ask

    def as_nobody(what):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                said = what()
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as said:
            return said.read()

    def by_our_client():
        ask(folder, {"command": "halt", "reason": "x"}, 5)

    def by_itself():
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(folder / "tradewatch.sock"))
            asking.sendall(b'{"command": "halt", "reason": "x"}\n')
            return asking.makefile().readline()

    assert as_nobody(by_our_client) == f"NotAllowed: {folder} is another user's: ask as that user"
    folder.chmod(0o777)
    (folder / "tradewatch.sock").chmod(0o777)
    assert as_nobody(by_our_client) == f"NotAllowed: the socket in {folder} is user 0's: ask as that user"
    answer = json.loads(as_nobody(by_itself))
    assert answer["error"] == "this bot is user root's: user 65534 may not ask it"
    assert bots.json("status", "--state-dir", folder)["breaker"]["state"] == "ACTIVE"


def test_the_audit_is_read_where_nothing_runs(bots):
    process = bots.start("grid", "watch.halt('by the program', by='me'); watch.resume('on', by='me'); time.sleep(600)")
    assert bots.run("status", "grid")[0] == 0
    process.kill()
    process.wait()
    expected = [
        ("halt", "me", "program", "by the program", "ACTIVE", "HALTED", None),
        ("resume", "me", "program", "on", "HALTED", "ACTIVE", None),
    ]
    assert audited(bots, "grid") == expected
    with sqlite3.connect(bots.folder("grid") / "events.db") as log:
        assert log.execute("SELECT count(*) FROM events WHERE kind = 'breaker.action'").fetchone() == (2,)
    assert bots.run("audit", "--state-dir", bots.folder("nobody"))[::2] == (
        1, f"Error: nothing was ever kept in {bots.folder('nobody')}\n"
    )  # fmt: skip


def test_a_halt_by_a_rule_is_audited_as_one(bots):
    rules = bots.home / "rules.yaml"
    rules.write_text(
        "groups: [{name: g, rules: [{alert: Always, expr: vector(1), annotations: {action: halt, summary: it is}}]}]"
    )
    bots.start(
        "grid",
        f"""
        tradewatch.uninstrument(bot)
        watch = tradewatch.instrument(bot, name="grid", port=None, rules=[{str(rules)!r}])
        while not watch.status().breaker.confirmed or watch.status().breaker.state == "ACTIVE":
            time.sleep(0.01)
        print("halted", flush=True)
        time.sleep(600)
        """,
    ).stdout.readline()
    assert audited(bots, "grid") == [("halt", "Always", "rule", "it is", "ACTIVE", "HALTED", None)]
