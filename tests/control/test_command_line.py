"""What the commands print: on terminals of any width, without colour, as JSON, and where nothing is to be seen."""

import json
import re

import msgspec
import pytest

import tradewatch

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_each_command_says_its_exit_codes(bots):
    for command in ("status", "halt", "resume", "query", "limits", "top", "audit"):
        code, said, _ = bots.run(command, "--help")
        assert code == 0
        assert "3  no such bot runs" in said
        assert f"  {command} " in bots.run("--help")[1]


def test_a_command_line_that_is_not_understood_ends_with_2(bots):
    for arguments, why in {
        "halt grid": "--reason",
        "resume": "--reason",
        "resume grid --reason": "--reason",
        "halt grid --reas x": "--reason",
        "halt grid other --reason x": "unrecognized arguments: other",
        "halt grid --reason x --timeout 0": "0; accepted: 0.1 to 3600 seconds",
        "halt grid --reason x --timeout nan": "nan; accepted: 0.1 to 3600 seconds",
        "query": "accepted: EXPR, or NAME and EXPR; quote the expression",
        "query a b c": "accepted: EXPR, or NAME and EXPR; quote the expression",
        "status grid --all": "--all is for every bot; accepted without NAME and --state-dir",
        "top --json": "unrecognized arguments: --json",
        "statsu": "no command 'statsu' (nearest: status); accepted: audit, config, ",
    }.items():
        code, said, complaint = bots.run(*arguments.split())
        assert (code, said) == (2, ""), arguments
        assert complaint.startswith("usage: tradewatch ")
        assert why in complaint.splitlines()[-1]


def test_names_and_options_stand_in_any_order(bots):
    bots.start("grid")
    for arguments in (
        ["halt", "--reason", "x", "grid"],
        ["halt", "grid", "--reason", "x", "--json"],
        ["halt", "--json", "grid", "--reason=x", "--timeout", "20"],
        ["query", "grid", "--json", "1"],
        ["query", "--json", "grid", "--", "-1"],
    ):
        code, _, complaint = bots.run(*arguments)
        assert (code, complaint) == (0, ""), arguments


def test_a_command_that_halts_loads_neither_the_bots_side_nor_what_it_can_do_without(bots):
    """Each of these takes tens of milliseconds."""
    bots.start("grid")
    loaded = bots.loaded("halt", "grid", "--reason", "x")
    assert "tradewatch.control.client" in loaded
    assert not {"click", "msgspec", "rich", "yaml", "typing", "opentelemetry", "sqlite3", "asyncio", "shutil"} & loaded
    assert not {
        name for name in loaded if name.startswith(("tradewatch.breaker", "tradewatch.store", "tradewatch.settings"))
    }
    assert bots.json("status", "grid")["breaker"]["state"] == "HALTED"


def test_where_nothing_runs_every_command_says_so(bots):
    for arguments in (["status"], ["halt", "--reason", "x"], ["limits"], ["top"], ["audit"], ["query", "up"]):
        code, said, complaint = bots.run(*arguments)
        # What runs in other homes of this machine may be named in further lines.
        assert (code, said, complaint.splitlines()[0]) == (3, "", "Error: no bot runs here")
    assert bots.run("status", "--json")[:2] == (3, "[]\n")


def test_json_has_the_shapes_that_the_docs_promise(bots):
    bots.start("grid")
    status = msgspec.convert(bots.json("status", "grid"), tradewatch.Status, strict=False)
    assert (status.bot, status.breaker.state) == ("grid", "ACTIVE")
    [listed] = bots.json("status")
    assert listed["bot"] == "grid"
    halted = bots.json("halt", "--reason", "the news", "--by", "anna")
    assert halted.pop("since_ns") > status.at_ns
    assert halted.pop("by").startswith("anna (")
    assert halted == {
        "before": "ACTIVE", "state": "HALTED", "reason": "the news", "confirmed": True, "not_confirmed": None,
        "in_flight": 0, "unknown": 0,
    }  # fmt: skip
    assert bots.json("resume", "--reason", "read")["before"] == "HALTED"
    limit = bots.json("limits")["limits"][0]
    assert limit == {
        "name": "daily_loss", "value": 0.03, "default": 0.03, "unit": "ratio",
        "meaning": "loss since the start of the UTC day, of the equity then",
    }  # fmt: skip
    found = bots.json("query", 'tradewatch_limit{limit="drawdown"} * 2')
    assert found.pop("at_ms") > status.at_ns // 10**6
    [element] = found.pop("elements")
    assert element["value"] == 0.2
    assert element["labels"] == {"instance": element["labels"]["instance"], "job": "grid", "limit": "drawdown"}
    assert found == {"value": None, "notes": []}
    [first, _] = bots.json("audit")
    assert sorted(first) == ["after", "asked", "at_ns", "before", "by", "channel", "reason", "refused", "seq"]


def test_a_query_says_what_has_no_series_and_what_no_history(bots):
    bots.start("grid")
    assert bots.run("query", "1 + 1")[:2] == (0, "2.0\n")
    assert bots.run("query", '"text"')[:2] == (0, "text\n")
    code, said, complaint = bots.run("query", "grid", "trading_nothing")
    assert (code, said, complaint) == (0, "", "note: trading_nothing: no series\n")
    # No rule reads it: its value of now is known, and no earlier one.
    code, said, complaint = bots.run("query", "tradewatch_breaker_trips_total")
    assert (code, complaint) == (0, "")
    assert re.fullmatch(r'tradewatch_breaker_trips_total\{instance=".*", job="grid"\} 0.0\n', said)
    code, said, complaint = bots.run("query", "increase(tradewatch_breaker_trips_total[1h])")
    assert (code, said) == (0, "")
    assert complaint == "note: tradewatch_breaker_trips_total: no rule reads it, so only its current value is kept\n"
    assert bots.run("query", "grid", "up{") == (1, "", "Error: grid: 1:4: unexpected end of input inside braces\n")


def test_a_current_value_is_that_of_now_and_not_of_the_last_evaluation(bots):
    bots.start("grid")
    query = 'tradewatch_breaker_state{state="HALTED"}'
    assert bots.json("query", query)["elements"][0]["value"] == 0
    bots.run("halt", "--reason", "x")
    assert bots.json("query", query)["elements"][0]["value"] == 1


@pytest.mark.parametrize("columns", [40, 80])
def test_every_command_fits_the_terminal(bots, columns):
    bots.start("grid")
    reason = "a reason that is a good deal longer than forty columns, as reasons are"
    for arguments in (["halt", "--reason", reason], ["status"], ["status", "grid"], ["limits"], ["audit"], ["top"]):
        code, shown = bots.on_terminal(*arguments, columns=columns, until="HALTED" if arguments == ["top"] else None)
        assert code in (0, 5), shown
        if arguments != ["top"]:
            assert max(len(line) for line in ESCAPES.sub("", shown).replace("\r", "").split("\n")) <= columns
        words = " ".join(ESCAPES.sub("", shown).replace("│", " ").split())
        assert ("drawdown" if arguments == ["limits"] else "HALTED") in words


def test_colour_is_for_terminals_that_want_it(bots):
    bots.start("grid")
    for arguments in (["halt", "--reason", "x"], ["status", "grid"]):
        assert "\x1b[" in bots.on_terminal(*arguments)[1]
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", bots.on_terminal(*arguments, NO_COLOR="1")[1])
        assert "\x1b" not in bots.run(*arguments)[1]
        assert "\x1b" not in bots.run(*arguments, TERM="xterm-256color")[1]


def until_line(process, shown):
    """Read what it says up to a line that begins so."""
    for line in process.stdout:
        if re.match(shown, line):
            return
    raise AssertionError(f"it never said {shown}: {process.stderr.read()}")


def test_top_shows_a_bot_until_ctrl_c_and_no_longer_than_it_runs(bots):
    process = bots.start("grid")
    code, shown = bots.on_terminal("top", until="tradewatch itself")
    assert code == 0
    assert "ACTIVE" in shown
    top = bots.begin("top", "grid")
    assert re.match(r"\d\d:\d\d:\d\d note: no exchange client found", top.stdout.readline())
    until_line(top, r"\d\d:\d\d:\d\d ACTIVE equity – \(stale\)")
    process.kill()
    _, complaint = top.communicate(timeout=60)
    assert top.returncode == 3
    assert "no bot runs in" in complaint or "ended while it was asked" in complaint


def test_a_status_that_json_has_no_numbers_for_is_shown(bots):
    """A rule whose value is infinite: JSON has no number for it."""
    rules = bots.home / "rules.yaml"
    rules.write_text("groups: [{name: g, rules: [{alert: Endless, expr: vector(1) / 0}]}]")
    bots.start(
        "grid",
        f"""
        tradewatch.uninstrument(bot)
        tradewatch.instrument(bot, name="grid", port=None, rules=[{str(rules)!r}])
        while not watch: pass
        time.sleep(600)
        """,
    )
    for _ in range(100):
        status = json.loads(bots.run("status", "grid", "--json")[1] or "null")
        if status and status["rules"][0]["state"] == "firing":
            break
    assert status["rules"][0]["value"] == "inf"
    code, said, _ = bots.run("status", "grid")
    assert code == 0
    assert "Endless firing inf" in said
