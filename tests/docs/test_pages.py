"""Every command and piece of Python, YAML, JSON and PromQL on the pages is run, as it stands there and in its order.

A command that is not run is in `NOT_RUN` with the reason and with what is run in its place; one that runs until it is
stopped is in `SERVED`. Text after a command is what the command says, but for numbers.
"""

import configparser
import json
import re
import subprocess
import sys
import tomllib
from contextlib import ExitStack, closing
from typing import NamedTuple

import msgspec
import pytest
import yaml

from before import BEFORE, Before
from pages import PAGES, ROOT, blocks_of, commands_of, prose_of, text_of
from terminals import Served, Session, Shell
from tradewatch import promql, rules
from tradewatch.paper.scenario import read_scenario
from tradewatch.settings.tree import Settings


class NotRun(NamedTuple):
    """Commands that fit `pattern` are not run, for a reason; what is done in their place is given the match."""

    pattern: str
    reason: str
    instead: object


def extras_are_there(shell, match):
    """What pip would be asked for is this project, an extra of it, or a library that the tests have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for named in match[1].replace("'", "").split():
        place, extra = re.fullmatch(r"(\.|ccxt)(?:\[(\w+)\])?", named).groups()
        assert extra is None or extra in project["optional-dependencies"]
        assert place == "." or any(each.startswith(place) for each in project["optional-dependencies"]["dev"])


def services_are_there(shell, match):
    """The file that docker compose would read has services; tests/unit/test_compose.py looks at them."""
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def targets_are_there(shell, match):
    """`make` knows the targets, and says what it would do."""
    code, said = shell.run(f"make -n {match[1]}")
    assert code == 0, said
    assert ".venv/bin/" in said


def module_is_there(shell, match):
    code, said = shell.run(f"{match[1]} -c 'import {match[2]}'")
    assert code == 0, said


def folder_is_there(shell, match):
    """The clone is there. Whoever goes into it has the demo in that terminal then; the others are of a second one."""
    code, said = shell.run("(cd tradewatch && test -f Makefile)")
    assert code == 0, said


def from_another_home(shell, match):
    """Whoever is at another home does not find the bot by its name, and is told its folder; with that he does."""
    code, home = shell.run("printf %s $HOME")
    code, said = shell.run(f"HOME=/nowhere {match[1].replace('/home/bot', home.strip())}")
    if "--state-dir" in match[1]:
        assert code == 0, said
    else:
        assert code == 3, said
        assert "one of another home or user: --state-dir" in said


NOT_RUN = (
    NotRun(r"git clone <address of this repository> tradewatch && cd tradewatch", "no network", folder_is_there),
    NotRun(r"pip install (.+)", "no package index; the tests' own environment must stay as it is", extras_are_there),
    NotRun(r"docker compose up -d", "no docker, no registry of images", services_are_there),
    NotRun(r"make ((?:test|servers|lint|picture|bench)(?: .+)?)", "takes minutes", targets_are_there),
    NotRun(r"make (format docs)", "writes into the work tree", targets_are_there),
    NotRun(r"sudo (tradewatch halt .+)", "no other user is there to be", from_another_home),
    NotRun(r"(\S+python) -m (benchmarks\.call) --json", "takes a minute", module_is_there),
)


class Runs(NamedTuple):
    """Commands that run until they are stopped: what they show once they are there, and at their end after Ctrl-C."""

    pattern: str
    there: str
    at_the_end: str = ""


SERVED = (
    Runs(r"make demo", r"✓ confirmed on disk", r"what happened"),
    Runs(r"tradewatch paper", r"Paper exchange at http://127\.0\.0\.1:\d+"),
    Runs(r"tradewatch top", r"ACTIVE"),
    Runs(r"(\w+=\S+ )*opentelemetry-instrument python", r"INFO worth [\d.]+"),
    Runs(r"(\w+=\S+ )*python [\w/]+\.py", r"INFO|WARNING"),
)
# What is not 0 and yet as it should be: the exit code says that a bot is HALTED.
CODES = {r"tradewatch status": (0, 5)}


class Reading:
    """A page that is read from its first line to its last, with everything done that it says."""

    def __init__(self, page, machine, stack):
        self.before = BEFORE.get(page, Before())
        self.machine, self.stack = machine, stack
        self.running, self.said, self.pieces = [], "", 0
        machine.environment |= self.before.environment
        for name, content in self.before.files.items():
            (machine.clone / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        for command in self.before.served:
            self.serve(command)
        # Whoever reads the README has not cloned yet.
        self.shell = stack.enter_context(
            closing(Shell(machine, machine.folder if page == "README.md" else machine.clone))
        )
        self.python = None

    def do(self, block):
        """Run a block, or hold it against what the one before it said."""
        if block.language == "text" and block.follows:
            assert re.search(as_shown(block.text), self.said), f"{block.text} is not what it says: {self.said}"
        elif block.language in ("sh", "console"):
            for command in commands_of(block):
                self.said = self.command(command)
        elif block.language == "python":
            self.piece(block.text)
        elif block.language in CHECKS:
            CHECKS[block.language](block)

    def command(self, command):
        listed = [(each, match) for each in NOT_RUN if (match := re.fullmatch(each.pattern, command))]
        if listed:
            [(not_run, match)] = listed
            not_run.instead(self.shell, match)
            return ""
        if any(re.match(each.pattern, command) for each in SERVED):
            return self.serve(command)
        code, said = self.shell.run(command)
        allowed = next((codes for pattern, codes in CODES.items() if re.match(pattern, command)), (0,))
        assert code in allowed, f"{command} ended with {code}: {said}"
        return said

    def serve(self, command):
        [runs] = [each for each in SERVED if re.match(each.pattern, command)]
        # An exchange takes the place of the one before it where they are at one port.
        port = re.search(r"--port (\d+)", command)
        for served in [each for each in self.running if port and port[0] in each.command]:
            self.end(served)
        served = self.stack.enter_context(closing(Served(self.machine, command)))
        self.running.append(served)
        served.until(runs.there)
        return served.said

    def end(self, served):
        self.running.remove(served)
        [runs] = [each for each in SERVED if re.match(each.pattern, served.command)]
        said = served.end()
        assert re.search(runs.at_the_end, said), f"{served.command} ended with {said[-5000:]}"
        assert "Traceback" not in said, said

    def piece(self, code):
        self.pieces += 1
        if self.python is None:
            self.python = self.stack.enter_context(closing(Session(self.machine)))
            self.python.run(self.before.python)
        self.python.run(code)
        self.python.run(self.before.then.get(self.pieces, ""))


def as_shown(text):
    """What an output has to be like: numbers, ids and who it is may differ, `...` stands for anything.

    Equity may be stale for a moment: between a fill and when the bot reads it.
    """
    free = re.compile(r"(\.\.\.)|([0-9a-f]{8}-[0-9a-f-]{27})|([+-]?\d[\d.,:-]*\d|\d)|(?<=^by )(root)", re.MULTILINE)
    out, end = "", 0
    for each in free.finditer(text):
        out += re.escape(text[end : each.start()])
        out += r"[\s\S]*" if each[1] else "[0-9a-f-]{36}" if each[2] else r"\S+" if each[4] else r"[+-]?\d[\d.,:-]*"
        end = each.end()
    return (out + re.escape(text[end:].rstrip())).replace("USDT", r"USDT(?: \(stale\))?")


def a_file_that_is_read(block):
    """YAML is a rule file, a scenario or settings, each told by its first key."""
    key = block.text.partition(":")[0]
    if key == "groups":
        assert sum(len(group.rules) for group in rules.loads(block.text)) == block.text.count("- alert:")
    elif key == "rules":
        assert len(read_scenario(block.text, block.where)) == block.text.count("- match:")
    else:
        assert msgspec.convert(yaml.safe_load(block.text), Settings)


RUN = ("sh", "console", "python")
CHECKS = {
    "ini": lambda block: configparser.ConfigParser().read_string(block.text, block.where),
    "yaml": a_file_that_is_read,
    "json": lambda block: json.loads(block.text),
    "promql": lambda block: promql.parse(block.text),
    "text": lambda block: None,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_is_so(page, request):
    blocks = blocks_of(page)
    wrong = [block.where for block in blocks if block.language not in (*RUN, *CHECKS)]
    assert wrong == [], "blocks whose language nobody knows; what a command says is text"
    if not set(RUN) & {block.language for block in blocks}:
        for block in blocks:
            CHECKS[block.language](block)
        return
    with ExitStack() as stack:
        reading = Reading(page, request.getfixturevalue("machine"), stack)
        for block in blocks:
            try:
                reading.do(block)
            except AssertionError as error:
                raise AssertionError(f"{block.where}: {error}") from error
        for served in reversed(reading.running):
            reading.end(served)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_mentions_is_there(page):
    told = subprocess.run(
        [sys.executable, "-m", "tradewatch.cli", "-h"], capture_output=True, text=True, check=True
    ).stdout
    known = {
        "make": re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE),
        "tradewatch": re.findall(r"^  ([a-z]+) +\S", told.partition("commands:")[2].partition("\n\n")[0], re.MULTILINE),
    }
    for program, command in re.findall(r"`(tradewatch|make) ([a-z]+)[^`]*`", prose_of(page)):
        assert command in known[program], f"{page}: {program} {command}"


def anchors_of(page):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (folder / file).resolve() if file else ROOT / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors_of(target.relative_to(ROOT)), f"{page}: {link}"


def test_the_index_has_every_page_once():
    listed = re.findall(r"^\| \[([\w-]+\.md)\]\(\1\) \|", text_of("docs/README.md"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md")


def test_nothing_is_listed_that_no_page_has():
    commands = [
        command
        for page in PAGES
        for block in blocks_of(page)
        if block.language in ("sh", "console")
        for command in commands_of(block)
    ]
    patterns = [*(each.pattern for each in NOT_RUN), *(each.pattern for each in SERVED), *CODES]
    assert [pattern for pattern in patterns if not any(re.match(pattern, command) for command in commands)] == []
    assert [page for page in BEFORE if page not in PAGES] == []
