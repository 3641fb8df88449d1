"""Profile, file, environment, arguments: the later one wins, and each value says where it is from."""

import os
from itertools import combinations

import pytest

from tradewatch.rules import default_groups, read_limits
from tradewatch.settings.sources import read, with_arguments
from tradewatch.settings.tree import LAST_PORT, PROFILES, Limits, Settings, built, fields


def settled(**sources):
    layers = read(**({"environ": {}} | sources))
    assert layers.problems == ()
    settings, listed = layers.settled()
    assert [each.key for each in listed] == list(fields())
    return settings, {each.key: (each.value, each.origin) for each in listed}


@pytest.fixture
def file(tmp_path):
    def write(text, name="t.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_with_nothing_given_all_is_default():
    settings, listed = settled()
    assert settings == Settings()
    assert {origin for _, origin in listed.values()} == {"default"}


# What each source says of the loss of a day, weakest first; a profile has its own value.
SAYS = {"profile": 0.015, "file": 0.1, "environment": 0.2, "argument": 0.3}


@pytest.mark.parametrize("sources", [c for n in range(1, 5) for c in combinations(SAYS, n)], ids="+".join)
def test_the_later_one_wins(file, sources):
    path = file("name: x\nlimits:\n  daily_loss: 0.1\n" if "file" in sources else "name: x\n")
    environ = {"TRADEWATCH_LIMITS": "daily_loss=0.2"} if "environment" in sources else {}
    arguments = {"limits": {"daily_loss": 0.3}} if "argument" in sources else {}
    if "profile" in sources:
        environ["TRADEWATCH_PROFILE"] = "production"
    settings, listed = settled(config=path, environ=environ, arguments=arguments)
    last = sources[-1]
    origin = {
        "profile": "profile production",
        "file": f"{path}:3",
        "environment": "TRADEWATCH_LIMITS",
        "argument": "argument",
    }[last]
    assert listed["limits.daily_loss"] == (SAYS[last], origin)
    assert settings.limits.daily_loss == SAYS[last]
    assert listed["name"] == ("x", f"{path}:1")


def test_limits_of_several_sources_add_up(file):
    path = file("limits: {daily_loss: 0.01, drawdown: 0.2}\n")
    settings, _ = settled(
        config=path,
        environ={"TRADEWATCH_LIMITS": " drawdown = 0.3 , overhead=1 "},
        arguments={"limits": {"overhead": 0.5}},
    )
    assert settings.limits == Limits(daily_loss=0.01, drawdown=0.3, overhead=0.5)


def test_the_profile_may_be_in_any_source(file):
    path = file("profile: development\n")
    assert settled(config=path)[0].limits.daily_loss == 0.06
    environ = {"TRADEWATCH_PROFILE": "production"}
    assert settled(config=path, environ=environ)[0].limits.daily_loss == 0.015
    settings, listed = settled(config=path, environ=environ, arguments={"profile": "testing"})
    assert (settings.limits.daily_loss, listed["port"]) == (0.03, (0, "profile testing"))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_holds_values_that_are_accepted(profile):
    for key, value in PROFILES[profile].items():
        assert fields()[key].checked(value) == value
    # A limit that no shipped rule reads would limit nothing.
    limits = {key.removeprefix("limits.") for key in PROFILES[profile] if key.startswith("limits.")}
    assert read_limits(limits, default_groups()) == limits


def test_variables_are_spelled_as_the_shell_has_them(tmp_path):
    settings, listed = settled(
        environ={
            "TRADEWATCH_PORT": "none",
            "TRADEWATCH_NAME": "none",
            "TRADEWATCH_RULES": os.pathsep.join(["a.yaml", str(tmp_path / "b.yaml")]),
            "TRADEWATCH_STATE_DIR": "~/state",
            "TRADEWATCH_ACCOUNT": "",
            "OTHER_PORT": "x",
            "TRADEWATCH_SERVERS": "where the tests have them",
        }
    )
    assert (settings.port, settings.name, settings.account) == (None, "none", None)
    assert settings.rules == (os.path.abspath("a.yaml"), str(tmp_path / "b.yaml"))
    assert settings.state_dir == os.path.expanduser("~/state")
    assert (listed["port"], listed["account"]) == ((None, "TRADEWATCH_PORT"), (None, "default"))


@pytest.mark.parametrize("text", ["80 80", "0x50", "８０", "-1", "65536", "1" * 5000])
def test_what_is_no_port_in_the_environment_is_said_and_not_taken(text):
    layers = read(environ={"TRADEWATCH_PORT": text})
    (problem,) = layers.problems
    assert (problem.where, problem.key, layers.environment) == ("TRADEWATCH_PORT", "port", {})
    assert problem.accepted.startswith(f"0 (any that is free) to {LAST_PORT}, or none")
    assert len(str(problem)) < 200


def test_what_is_watched_is_lists_of_paths_and_names(file, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = "log_files: [a.log, /b.log]\nprocesses: [postgres]\npid_files: [c.pid]\n"
    environ = {"TRADEWATCH_PROCESSES": "redis-server, my feed,", "TRADEWATCH_PID_FILES": f"d.pid{os.pathsep}~/e.pid"}
    settings, _ = settled(config=file(text), environ=environ)
    assert settings.log_files == (str(tmp_path / "a.log"), "/b.log")
    assert settings.processes == ("redis-server", "my feed")
    assert settings.pid_files == ("/d.pid", os.path.expanduser("~/e.pid"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processes: [bin/postgres]", "a list of 20 names of programs at most, without a '/'"),
        ("processes: postgres", "a list of 20 names of programs at most, without a '/', such as ['postgres']"),
        (f"processes: {[f'p{n}' for n in range(21)]}", "a list of 20 names of programs at most, without a '/'"),
        ("log_files: bot.log", "a list of 20 files at most, such as ['bot.log']"),
        ("log_files: ['']", "a list of 20 files at most"),
    ],
)
def test_what_cannot_be_watched_is_said_and_not_taken(file, text, said):
    layers = read(config=file(text), environ={})
    [problem] = layers.problems
    assert (problem.accepted, layers.file) == (said, {})


def test_the_file_may_be_named_by_the_environment_and_an_argument_wins(file):
    one, two = file("name: one\n", "1.yaml"), file("name: two\n", "2.yaml")
    environ = {"TRADEWATCH_CONFIG": str(one)}
    assert settled(environ=environ)[0].name == "one"
    assert settled(environ=environ, config=two)[0].name == "two"


def test_paths_in_a_file_are_relative_to_it(file, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings, _ = settled(config=file("state_dir: state\nrules: [r.yaml, ../s.yaml, /t.yaml, ~/u.yaml]\n"))
    assert settings.state_dir == str(tmp_path / "state")
    assert settings.rules == (
        str(tmp_path / "r.yaml"), str(tmp_path.parent / "s.yaml"), "/t.yaml", os.path.expanduser("~/u.yaml"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"profile: production\r\nlimits:\r\n  daily_loss: 0.02\r\n",
        b"\xef\xbb\xbfprofile: production\nlimits: {daily_loss: 0.02}\n",
        b'{"profile": "production", "limits": {"daily_loss": 2e-2}}',
    ],
)
def test_line_ends_of_windows_a_byte_order_mark_and_json_are_read(file, text):
    settings, _ = settled(config=file(text))
    assert settings == built({"profile": "production", "limits.error_rate": 0.025, "limits.daily_loss": 0.02})


def test_json_may_be_indented_by_tabs(file):
    assert settled(config=file('{\n\t"name":\t"x\\ty",\n\t"port": 1\n}\n', "t.json"))[0].name == "x\ty"


def test_an_empty_file_and_an_empty_limits_say_nothing(file):
    for text in ("", "# nothing\n", "limits:\n"):
        assert settled(config=file(text))[0] == Settings()


def test_null_takes_back_what_is_optional(file):
    path = file("name: ~\nport: null\n")
    settings, listed = settled(config=path, beneath=read(environ={"TRADEWATCH_NAME": "script"}).environment)
    assert (settings.name, settings.port, listed["name"]) == (None, None, (None, f"{path}:1"))


def test_paths_in_what_a_shell_hands_over_are_relative_to_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, b"log_files: [bot.log]\n")
    os.close(writing)
    _, listed = settled(config=f"/dev/fd/{reading}")
    os.close(reading)
    assert listed["log_files"] == ((str(tmp_path / "bot.log"),), f"/dev/fd/{reading}:1")


def test_what_other_variables_say_is_stronger_than_a_profile_and_weaker_than_a_file(file):
    beneath = read(environ={"TRADEWATCH_PORT": "9500"}).environment
    environ = {"TRADEWATCH_PROFILE": "testing"}
    assert settled(environ=environ, beneath=beneath)[0].port == 9500
    assert settled(environ=environ, beneath=beneath, config=file("port: 9600\n"))[0].port == 9600


def test_further_arguments_replace_those_before_one_by_one():
    layers = read(environ={}, arguments={"port": 1, "limits": {"drawdown": 0.2, "overhead": 0.5}})
    settings, _ = with_arguments(layers, {"limits": {"drawdown": 0.3}}).settled()
    assert (settings.port, settings.limits.drawdown, settings.limits.overhead) == (1, 0.3, 0.5)


def test_a_variable_of_ours_that_there_is_none_of_is_said():
    (problem,) = read(environ={"TRADEWATCH_LIMIT": "daily_loss=0.02"}).problems
    assert "no such variable (nearest: TRADEWATCH_LIMITS); accepted: TRADEWATCH_CONFIG, " in str(problem)


@pytest.mark.parametrize("environ", [{"TRADEWATCH_TOKEN": "q7Zk2mB"}, {"TRADEWATCH_API_KEY": "q7Zk2mB"}])
def test_what_looks_like_a_secret_is_masked_where_it_does_not_belong(environ, file):
    text = str(read(environ=environ, config=file("secret: q7Zk2mB\nlimits:\n  password: q7Zk2mB\n")).problems)
    assert "q7Zk2mB" not in text
    assert text.count("***") == 3
