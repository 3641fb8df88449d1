"""Settings of a watched bot: from a file and the environment, and what changes while it runs, all of it or nothing."""

import logging
import re

import pytest

import tradewatch
from tradewatch.breaker import ACTION, Action
from tradewatch.store import decode, rows_of

SYMBOL = "BTC/USDT"
LIMIT = ("limit", "drawdown")
RULE = "{alert: Mine, expr: 'trading_portfolio_equity > 0', annotations: {action: halt}}"


@pytest.fixture
def file(tmp_path):
    def write(text, name="tradewatch.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def place(venue):
    """A price that falls by 1.5 % after a minute."""
    return venue(rows=[(100,) * 4] + [(98.5,) * 4] * 30, balances={"BTC": "100", "USDT": "100"})


@pytest.fixture
def down(blocking, place, make_bot, watch_over, until):
    """A bot that has lost some 1.5 % today, watched with these settings."""

    def begin(**settings):
        client = blocking.client(place)
        watch = watch_over(make_bot(client), clock=place.clock, **settings)

        def looked(passed):
            client.fetch_balance()
            client.fetch_ticker(SYMBOL)
            equity = watch.status().portfolio.equity
            return equity.value is not None and (equity.value < 9_960) == passed

        until(lambda: looked(False))
        place.clock.pass_seconds(61)
        until(lambda: looked(True))
        return client, watch

    return begin


def order(client):
    try:
        client.create_order(SYMBOL, "market", "buy", 0.1)
    except tradewatch.OrderRefused as error:
        return str(error)


def settings_of(watch):
    return {each.key: (each.value, each.origin) for each in watch.status().settings}


def test_a_tighter_limit_halts_at_once_and_a_looser_one_does_not_resume(down, place, until, caplog):
    client, watch = down()
    assert order(client) is None
    assert watch.status().configured_ns is None
    with caplog.at_level(logging.WARNING, "tradewatch"):
        watch.configure(limits={"daily_loss": 0.01})
    assert watch.status().configured_ns == place.clock.now_ns()
    assert watch.status().limits["daily_loss"] == 0.01
    assert settings_of(watch)["limits.daily_loss"] == (0.01, "argument")
    assert "changed by configure: limits.daily_loss 0.03 -> 0.01 (argument)" in caplog.text
    # The clock of the bot stands still unless it is moved, and evaluations are 10 ms apart.
    place.clock.pass_seconds(0.05)
    until(lambda: watch.status().breaker.state == "HALTED")
    assert "beyond the limit daily_loss" in order(client)
    watch.configure(limits={"daily_loss": 0.5})
    assert watch.status().breaker.state == "HALTED"


def test_the_limit_that_is_exported_is_the_one_in_force(make_bot, blocking, venue, watch_over, scrape, until):
    watch = watch_over(make_bot(blocking.client(venue())), name="grid")
    watch.configure(limits={"drawdown": 0.2})

    def shown():
        found = scrape(watch.status().telemetry.endpoint)
        return [value for (name, labels), value in found.items() if name == "tradewatch_limit" and LIMIT in labels]

    until(lambda: shown() == [0.2])


def test_other_rules_are_in_force_at_once(down, file, place, until):
    client, watch = down()
    assert len(watch.status().rules) == 10
    ours = file(f"groups: [{{name: mine, rules: [{RULE}]}}]", "mine.yaml")
    assert order(client) is None
    watch.configure(rules=[ours])
    assert [status.rule.name for status in watch.status().rules] == ["Mine"]
    place.clock.pass_seconds(2)
    until(lambda: watch.status().breaker.state == "HALTED")
    assert watch.status().breaker.by == "Mine"
    assert order(client)


def test_who_reads_the_audit_sees_which_settings_and_rules_were_changed(
    blocking, venue, make_bot, watch_over, file, tmp_path
):
    watch = watch_over(make_bot(blocking.client(venue())), name="grid", state_dir=tmp_path / "state")
    rule = RULE.replace("trading_portfolio_equity > 0", 'tradewatch_limit{limit="drawdown"} > 1')
    first = file(f"groups: [{{name: mine, rules: [{rule}]}}]", "mine.yaml")
    watch.configure(limits={"drawdown": 0.2})
    watch.configure(limits={"drawdown": 0.2})
    watch.configure(rules=[first], limits={"drawdown": 0.1})
    file(f"groups: [{{name: mine, interval: 1h, rules: [{rule.replace('halt', 'notify')}]}}]", "mine.yaml")
    watch.configure(rules=[first])
    # A rule with more alerts than that fails, and acts no more.
    file(f"groups: [{{name: mine, interval: 1h, limit: 1, rules: [{rule.replace('halt', 'notify')}]}}]", "mine.yaml")
    watch.configure(rules=[first])
    with pytest.raises(tradewatch.SettingsError):
        watch.configure(limits={"drawdown": 2})
    found = [decode(event, Action) for event in rows_of(tmp_path / "state", ACTION)]
    assert {(each.asked, each.by, each.channel, each.refused) for each in found} == {
        ("configure", "configure", "program", None)
    }
    assert [each.reason for each in found] == ["argument", "argument", "the rule files", "the rule files"]
    limit, _, rules, _ = [each.before for each in found]
    limited, ours, changed, fewer = [each.after for each in found]
    assert (limit, limited) == ("limits.drawdown 0.1", "limits.drawdown 0.2")
    says = 'tradewatch_limit{limit="drawdown"} > 1'
    assert {"limits.drawdown 0.1", f"rule Mine (halt): {says}"} <= set(ours.split("; "))
    assert (rules, changed) == (f"rule Mine (halt): {says}", f"rule Mine (notify): {says}, every 3600 s")
    assert fewer == f"rule Mine (notify): {says}, every 3600 s, 1 alerts at most"


FIXED = "cannot change while the bot runs, and is"
GOOD = {"drawdown": 0.2}
BAD = {
    "a limit beside a good one": ({"limits": {**GOOD, "daily_loss": 3}}, "limits.daily_loss 3; accepted: a ratio"),
    "a name": ({"limits": GOOD, "name": "other"}, f"argument name 'other': {FIXED} 'grid'"),
    "a port": ({"limits": GOOD, "port": 1}, f"argument port 1: {FIXED} 0"),
    "no port": ({"limits": GOOD, "port": None}, f"argument port null: {FIXED} 0"),
    "a folder": ({"limits": GOOD, "state_dir": "other"}, "accepted: changes of profile and limits and rules"),
    "what there is not": ({"limits": GOOD, "limit": {}}, "no such setting (nearest: limits)"),
    "rules that are not there": ({"limits": GOOD, "rules": ["none.yaml"]}, "none.yaml:1:1"),
    "rules that do not read it": ({"limits": GOOD, "rules": ["mine.yaml"]}, "none of the rules reads it"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_change_is_taken_as_a_whole_or_not_at_all(
    which, blocking, venue, make_bot, watch_over, file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file(f"groups: [{{name: mine, rules: [{RULE}]}}]", "mine.yaml")
    watch = watch_over(make_bot(blocking.client(venue())), name="grid")
    before = watch.status()
    changes, said = BAD[which]
    with pytest.raises((tradewatch.SettingsError, tradewatch.RuleFileError), match=re.escape(said)):
        watch.configure(**changes)
    after = watch.status()
    assert (after.settings, after.limits, after.configured_ns) == (before.settings, before.limits, None)
    assert [s.rule for s in after.rules] == [s.rule for s in before.rules]
    watch.configure(limits={"drawdown": 0.3})
    assert settings_of(watch)["limits.drawdown"] == (0.3, "argument")


def test_a_safety_thread_that_hangs_is_said_and_nothing_changes(blocking, venue, make_bot, watch_over, monkeypatch):
    from tradewatch import safety

    monkeypatch.setattr(safety, "_GIVE_WAY_S", 0.05)
    watch = watch_over(make_bot(blocking.client(venue())))
    with watch._journal.booking, pytest.raises(RuntimeError, match="the settings stay as they were"):
        watch.configure(limits={"drawdown": 0.2})
    assert watch.status().limits["drawdown"] == 0.1
    assert watch.status().configured_ns is None


def test_a_file_and_the_environment_are_settings_of_instrument_too(
    blocking, venue, make_bot, file, tmp_path, monkeypatch
):
    path = file("name: from-file\nstate_dir: kept\nport: 0\naccount: main\nlimits: {drawdown: 0.2, daily_loss: 0.2}\n")
    monkeypatch.setenv("TRADEWATCH_LIMITS", "daily_loss=0.3,overhead=0.3")
    bot = make_bot(blocking.client(venue()))
    watch = tradewatch.instrument(bot, config=path, limits={"overhead": 0.4})
    assert watch.name == "from-file"
    assert watch.status().state_folder == str(tmp_path / "kept")
    found = settings_of(watch)
    assert found["limits.drawdown"] == (0.2, f"{path}:5")
    assert found["limits.daily_loss"] == (0.3, "TRADEWATCH_LIMITS")
    assert found["limits.overhead"] == (0.4, "argument")
    assert found["limits.rate_limit"] == (0.8, "default")
    assert tradewatch.instrument(bot, config=path) is watch
    with pytest.raises(ValueError, match="with another config"):
        tradewatch.instrument(bot, config=tmp_path / "other.yaml")
    with pytest.raises(ValueError, match="with another profile"):
        tradewatch.instrument(bot, profile="production")


def test_a_port_that_is_given_wins_over_the_environment_also_where_it_is_none(
    blocking, venue, make_bot, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRADEWATCH_PORT", "0")
    monkeypatch.setenv("TRADEWATCH_STATE_DIR", str(tmp_path / "state"))
    bot = make_bot(blocking.client(venue()))
    assert tradewatch.instrument(bot, port=None).status().telemetry.endpoint is None
    tradewatch.uninstrument(bot)
    watch = tradewatch.instrument(bot)
    assert watch.status().telemetry.endpoint is not None
    assert settings_of(watch)["port"] == (0, "TRADEWATCH_PORT")


def test_everything_that_is_wrong_is_raised_before_anything_begins(blocking, venue, make_bot, file, monkeypatch):
    path = file("limits:\n  daily_los: 0.02\n")
    monkeypatch.setenv("TRADEWATCH_PORT", "http")
    monkeypatch.setenv("TRADEWATCH_PROFIL", "production")
    client = blocking.client(venue())
    with pytest.raises(tradewatch.SettingsError) as caught:
        tradewatch.instrument(make_bot(client), config=path, currency="$")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{path}:2:3", "TRADEWATCH_PORT", "TRADEWATCH_PROFIL", "argument currency '$'; accepted",
    ]  # fmt: skip
    assert "_tradewatch" not in vars(client)


def test_what_is_read_again_is_taken_and_arguments_go_on_winning(
    blocking, venue, make_bot, watch_over, file, lenient, caplog
):
    path = file("limits: {drawdown: 0.2, daily_loss: 0.2, overhead: 0.2}\n")
    watch = watch_over(make_bot(blocking.client(venue())), config=path, limits={"daily_loss": 0.25})
    watch.configure(limits={"overhead": 0.25})
    file("limits: {drawdown: 0.4, daily_loss: 0.4, overhead: 0.4}\n")
    watch.configure(limits={"slow_calls": 0.3})
    assert watch.status().limits["drawdown"] == 0.2, "a file is read when somebody asks for it"
    assert watch.settings.reread()
    limits = watch.status().limits
    assert [limits[name] for name in ("drawdown", "daily_loss", "overhead", "slow_calls")] == [0.4, 0.25, 0.25, 0.3]
    for broken in ("limits: {drawdown: 4}\n", "limits: {drawdown: 0.5}\nname: other\n", "limits:\n\tdrawdown: 1\n"):
        file(broken)
        assert not watch.settings.reread()
        (note,) = [note for note in watch.status().notes if "IS NOT IN FORCE" in note]
        assert note.startswith(f"a change by SIGHUP IS NOT IN FORCE, everything is as it was: {path}:")
        assert note in caplog.text
        assert watch.status().limits == limits
    file("profile: production\n")
    assert watch.settings.reread()
    assert watch.status().limits["error_rate"] == 0.025
    assert watch.status().limits["drawdown"] == 0.1
    assert not [note for note in watch.status().notes if "IS NOT IN FORCE" in note]


def test_rule_files_are_read_again_with_their_settings_file(blocking, venue, make_bot, watch_over, file):
    path = file("rules: [mine.yaml]\n")
    file("groups: [{name: mine, rules: [{alert: One, expr: a > 1}]}]", "mine.yaml")
    watch = watch_over(make_bot(blocking.client(venue())), config=path)
    file("groups: [{name: mine, rules: [{alert: Two, expr: a > 1}]}]", "mine.yaml")
    assert watch.settings.reread()
    assert [status.rule.name for status in watch.status().rules] == ["Two"]


@pytest.mark.parametrize(
    "wrong", [{"rules": "mine.yaml"}, {"rules": 5}, {"rules": [5]}, {"limits": "daily_loss=1"}, {"limits": [1]}]
)
def test_arguments_of_another_kind_are_told_as_others_are(wrong, make_bot, watch_over):
    with pytest.raises(
        tradewatch.SettingsError, match=r"^argument (rules|limits) .*; accepted: (a list of files|numbers)"
    ):
        watch_over(make_bot(), **wrong)


def test_a_limit_can_be_changed_while_a_rule_file_is_being_edited(blocking, venue, make_bot, watch_over, file):
    rule = "{alert: One, expr: 'a > on () tradewatch_limit'}"
    path = file(f"groups: [{{name: mine, rules: [{rule}]}}]", "mine.yaml")
    watch = watch_over(make_bot(blocking.client(venue())), rules=[path])
    path.write_text("groups: [{name: mine, rules: [{alert: Half, expr: 'a >")
    watch.configure(limits={"drawdown": 0.05})
    assert watch.status().limits["drawdown"] == 0.05
    assert [status.rule.name for status in watch.status().rules] == ["One"]
    with pytest.raises(tradewatch.RuleFileError):
        watch.configure(rules=[path])
