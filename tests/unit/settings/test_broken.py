"""Files that are wrong, in tests/unit/settings/broken, and beside each what a stranger is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tradewatch.cli.config import config

HERE = Path(__file__).parent / "broken"
FILES = sorted(file.name for file in HERE.iterdir() if file.suffix in (".yaml", ".json"))


@pytest.fixture
def check(monkeypatch):
    monkeypatch.chdir(HERE)

    def run(*arguments, **environment):
        return CliRunner().invoke(config, ["check", *map(str, arguments)], env=environment)

    return run


def test_there_are_twenty_at_least():
    assert len(FILES) >= 20
    assert {file.stem for file in HERE.glob("*.txt")} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_a_broken_file_is_told_in_words_that_a_stranger_can_act_on(check, file):
    done = check(file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (HERE / f"{file}.txt").read_text().replace("{here}", str(HERE))


@pytest.mark.parametrize("file", FILES)
def test_each_message_names_file_and_line_and_what_is_accepted(check, file):
    for line in check(file).stderr.splitlines():
        named = line.removeprefix(str(HERE) + "/")
        assert named.startswith((f"{file}:", "rules/", "nowhere.yaml:")) or "names that file: " + file in named
        assert "accepted: " in line or "names that file" in line


@pytest.mark.parametrize("file", FILES)
def test_as_json_the_same_is_on_standard_output(check, file):
    done = check(file, "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, done.stderr, said["valid"], said["settings"]) == (1, "", False, [])
    accepted = [line for line in (HERE / f"{file}.txt").read_text().splitlines() if "accepted" in line]
    assert len(said["problems"]) == len(accepted)
    for problem, line in zip(said["problems"], accepted, strict=True):
        assert line.replace("{here}", str(HERE)).startswith(problem["where"])
        assert f"accepted: {problem['accepted']}" in line


# A bot must not be stopped from starting by what somebody else put into a file; nor must its memory fill.
BOUNDED = """
import resource, sys
from tradewatch.settings import sources
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layers = sources.read(config=sys.argv[1], environ={})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, *layers.problems)
"""


def grown(file):
    done = subprocess.run([sys.executable, "-c", BOUNDED, file], capture_output=True, text=True, check=True)
    kib, _, said = done.stdout.strip().partition(" ")
    return int(kib) * 1024, said


def test_a_file_of_100_mb_is_refused_unread(tmp_path):
    file = tmp_path / "huge.yaml"
    with file.open("wb") as stream:
        stream.write(b"name: grid\n#")
        stream.truncate(100_000_000)
    size, said = grown(file)
    assert said == f"{file}:1:1: more than 65,536 bytes; accepted: files of at most 65,536 bytes"
    assert size < 30_000_000


def test_a_file_without_end_is_refused():
    assert grown("/dev/zero")[1].startswith("/dev/zero:1:1: more than 65,536 bytes")


def test_the_slowest_file_that_is_read_is_read_within_bounds(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("a: [" + "x," * 32_764 + "]\n")
    size, said = grown(file)
    assert "a ['x', 'x'," in said
    assert size < 100_000_000


def test_rule_files_have_the_same_bound_and_may_be_several(check, tmp_path):
    def rules(name, count):
        file = tmp_path / name
        rule = "  - {alert: High%d, expr: 'trading_portfolio_equity > tradewatch_limit{limit=\"drawdown\"}'}\n"
        file.write_text(f"groups:\n- name: {name}\n  rules:\n" + "".join(rule % n for n in range(count)))
        return file

    large, small, other = rules("large.yaml", 800), rules("small.yaml", 600), rules("other.yaml", 600)
    assert large.stat().st_size > 65_536 > small.stat().st_size
    settings = tmp_path / "t.yaml"
    settings.write_text(f"rules: [{large}]\n")
    done = check(settings)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"{large}:1:1: more than 65,536 bytes; accepted: files of at most 65,536 bytes",
        f"the setting rules names that file: {settings}:1",
    ]
    settings.write_text(f"rules: [{small}, {other}]\n")
    assert check(settings).exit_code == 0


def test_a_bomb_takes_no_more_memory_than_a_file_may():
    size, said = grown(HERE / "bomb.yaml")
    assert "too many values" in said
    assert size < 150_000_000


def test_the_limit_of_time_would_be_met():
    """The bound that the tests above rest on is one."""
    body = BOUNDED.replace("layers =", "\nwhile True: pass\nlayers =").replace("(10, 10)", "(1, 1)")
    assert subprocess.run([sys.executable, "-c", body, "none"], check=False).returncode < 0
