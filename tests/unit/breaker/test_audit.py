"""Every halt and resumption is written down: by whom, how, why, before and after; also those that changed nothing."""

import pytest

from tradewatch.breaker import ACTION, Action, Breaker, ResumeRefused
from tradewatch.store import StoreUnavailable, decode, rows_of


@pytest.fixture
def audited(folder):
    return lambda: [decode(event, Action) for event in rows_of(folder, ACTION)]


def test_who_why_how_before_and_after(breaker, audited):
    breaker.halt("DailyLoss", "3.12 %", channel="rule")
    breaker.halt("anna", "the news", channel="control")
    breaker.resume("anna", "read", channel="control")
    breaker.halt("operator", "from the program")
    assert audited() == [
        Action("halt", "DailyLoss", "rule", "3.12 %", "ACTIVE", "HALTED"),
        Action("halt", "anna", "control", "the news", "HALTED", "HALTED"),
        Action("resume", "anna", "control", "read", "HALTED", "ACTIVE"),
        Action("halt", "operator", "program", "from the program", "ACTIVE", "HALTED"),
    ]


def test_what_changes_nothing_is_kept_where_a_person_asked_and_does_not_fill_the_log_where_none_did(breaker, audited):
    breaker.resume("anna", "is it on?", channel="control")
    breaker.resume("bot", "again")
    for _ in range(100):
        breaker.halt("DailyLoss", "3.12 %", channel="rule")
        breaker.halt("bot", "again")
    for n in range(2):
        breaker.halt("anna", f"sure {n}", channel="control")
    assert [(each.asked, each.by, each.reason, each.before, each.after) for each in audited()] == [
        ("resume", "anna", "is it on?", "ACTIVE", "ACTIVE"),
        ("halt", "DailyLoss", "3.12 %", "ACTIVE", "HALTED"),
        ("halt", "bot", "again", "HALTED", "HALTED"),
        ("halt", "anna", "sure 0", "HALTED", "HALTED"),
        ("halt", "anna", "sure 1", "HALTED", "HALTED"),
    ]


def test_a_resumption_that_was_refused_is_kept_once_the_disk_takes_it(breaker, audited, disk, clock):
    breaker.halt("DailyLoss", "3.12 %", channel="rule")
    disk.fail()
    with pytest.raises(ResumeRefused):
        breaker.resume("anna", "go on", channel="control")
    disk.heal()
    clock.pass_seconds(1)
    breaker.advance()
    last = audited()[-1]
    assert (last.asked, last.by, last.before, last.after) == ("resume", "anna", "HALTED", "HALTED")
    assert last.refused.startswith("not resumed, since it could not be written down: the store at ")


def test_a_change_of_settings_is_kept_in_one_line_and_leaves_the_state(breaker, audited):
    breaker.halt("DailyLoss", "3.12 %", channel="rule")
    breaker.keep(Action("configure", "SIGHUP", "signal", "a.yaml:1", "rule A (halt): x\n> 1", "nothing"))
    assert audited()[1:] == [
        Action("configure", "SIGHUP", "signal", "a.yaml:1", "rule A (halt): x > 1", "nothing"),
    ]
    assert breaker.status().state == "HALTED"


def test_a_program_that_asks_again_and_again_while_the_disk_is_away_fills_no_memory(breaker, disk):
    breaker.halt("DailyLoss", "3.12 %")
    disk.fail()
    for _ in range(3000):
        with pytest.raises(ResumeRefused):
            breaker.resume("bot", "go on")
    assert len(breaker._unwritten) <= 1001


def test_a_start_that_halts_since_it_cannot_read_its_state_is_kept(folder, clock, gate, store, audited, restart):
    Breaker(store, gate, clock).halt("DailyLoss", "3.12 %")
    store.append("breaker.halted", Action("halt", "x", "rule", "no halt's body", None, "HALTED"), durable=True)
    store.close()
    restart()
    last = audited()[-1]
    assert (last.by, last.channel, last.before, last.after) == ("tradewatch", "start", None, "HALTED")
    assert last.reason.startswith("the state of the last run cannot be read: a row in ")


def test_rows_of_a_log_that_is_none_say_what_is_wrong(folder):
    folder.mkdir(exist_ok=True)
    (folder / "events.db").write_text("no database")
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        list(rows_of(folder, ACTION))
