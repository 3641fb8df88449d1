"""`tradewatch config`."""

import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tradewatch.cli.config import config

PLAIN = {key: value for key, value in os.environ.items() if not key.startswith(("TRADEWATCH_", "NO_COLOR"))}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **environment):
        return CliRunner().invoke(config, arguments, env=environment)

    return call


def test_check_shows_every_setting_with_its_value_and_where_it_is_from(run, tmp_path):
    (tmp_path / "t.yaml").write_text("profile: production\nname: grid\nlimits: {drawdown: 0.2}\n")
    done = run("check", "t.yaml", TRADEWATCH_PORT="none", TRADEWATCH_LIMITS="overhead=0.5")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()] == [
        ["profile", "production", "t.yaml:1"],
        ["name", "grid", "t.yaml:2"],
        ["state_dir", "–", "default"],
        ["account", "–", "default"],
        ["currency", "–", "default"],
        ["strategy", "–", "default"],
        ["otlp_headers", "–", "default"],
        ["otlp_headers_file", "–", "default"],
        ["rules", "–", "default"],
        ["port", "–", "TRADEWATCH_PORT"],
        ["log_files", "–", "default"],
        ["processes", "–", "default"],
        ["pid_files", "–", "default"],
        ["limits.daily_loss", "0.015", "profile production"],
        ["limits.drawdown", "0.2", "t.yaml:3"],
        ["limits.error_rate", "0.025", "profile production"],
        ["limits.rejected_orders", "5", "default"],
        ["limits.slow_calls", "0.01", "default"],
        ["limits.rate_limit", "0.8", "default"],
        ["limits.overhead", "0.5", "TRADEWATCH_LIMITS"],
    ]


def test_check_as_json(run, tmp_path):
    (tmp_path / "t.json").write_text('{"rules": ["r.yaml"], "port": null}')
    (tmp_path / "r.yaml").write_text("groups: []")
    said = json.loads(run("check", "--json", TRADEWATCH_CONFIG="t.json").stdout)
    assert (said["valid"], said["problems"]) == (True, [])
    found = {each["key"]: (each["value"], each["origin"]) for each in said["settings"]}
    assert found["rules"] == ([str(tmp_path / "r.yaml")], "t.json:1")
    assert found["port"] == (None, "t.json:1")
    assert found["limits.drawdown"] == (0.1, "default")


def test_what_has_the_shape_of_a_secret_is_masked(run, tmp_path):
    (tmp_path / "t.yaml").write_text("account: 'apiKey=q7Zk2mBvPw3n'\n")
    for flags in ((), ("--json",)):
        done = run("check", "t.yaml", *flags)
        assert done.exit_code == 0
        assert "q7Zk2mBvPw3n" not in done.output
        assert "***" in done.output


@pytest.mark.parametrize("arguments", [("check", "a", "b"), ("check", "--jsn"), ("chek",), ("init", "a", "b")])
def test_a_wrong_call_is_told_from_wrong_settings_by_its_exit_code(run, arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


def test_wrong_variables_fail_the_check_without_a_file(run):
    done = run("check", TRADEWATCH_PORT="http")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "TRADEWATCH_PORT: port 'http'; accepted: 0 (any that is free) to 65535, or none\n"


def test_init_writes_a_file_that_passes_and_never_writes_over_one(run, tmp_path):
    assert run("init").exit_code == 0
    file = tmp_path / "tradewatch.yaml"
    written = file.read_text()
    assert run("check", "tradewatch.yaml").exit_code == 0
    file.write_text("name: mine\n")
    refused = run("init")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "tradewatch.yaml is there already; --force writes over it" in refused.stderr
    assert file.read_text() == "name: mine\n"
    assert run("init", "--force").exit_code == 0
    assert file.read_text() == written
    assert "No such file or directory" in run("init", "none/t.yaml").stderr


def test_a_folder_whose_name_is_no_text_is_shown():
    environment = os.fsencode("TRADEWATCH_STATE_DIR"), b"/tmp/\xff"
    command = [sys.executable, "-m", "tradewatch.cli", "config", "check"]
    done = subprocess.run(command, env=PLAIN | dict([environment]), capture_output=True, check=True)
    assert b"/tmp/?" in done.stdout


def test_schema_prints_json(run):
    done = run("schema")
    assert json.loads(done.stdout)["$defs"]["Limits"]["additionalProperties"] is False


@pytest.mark.parametrize("command", [(), ("check",), ("schema",), ("init",)])
def test_every_command_explains_itself_with_examples(run, command):
    done = run(*command, "--help")
    assert done.exit_code == 0
    assert "Examples:\n  " in done.stdout


def on_a_terminal(*arguments, **environment):
    """What a terminal is sent."""
    main_end, other_end = pty.openpty()
    command = [sys.executable, "-m", "tradewatch.cli", "config", *arguments]
    process = subprocess.Popen(command, stdout=other_end, stderr=other_end, env=PLAIN | {"TERM": "xterm"} | environment)
    os.close(other_end)
    text = b""
    while True:
        try:
            part = os.read(main_end, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(main_end)
    assert process.wait(30) == 0
    return text.decode()


def test_colour_is_for_terminals_that_have_not_been_asked_for_none():
    assert "\x1b[" in on_a_terminal("check")
    assert "\x1b[" not in on_a_terminal("check", NO_COLOR="1")
    piped = subprocess.run(
        [sys.executable, "-m", "tradewatch.cli", "config", "check"], env=PLAIN, capture_output=True, check=True
    )
    assert b"\x1b[" not in piped.stdout
