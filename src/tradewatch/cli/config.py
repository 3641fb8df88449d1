"""`tradewatch config`: what settings are in force and why, their schema, and a file to begin with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from tradewatch.given import in_force
from tradewatch.rules import RuleFileError
from tradewatch.runtime.scrub import scrubber
from tradewatch.settings import sources, written
from tradewatch.settings.problems import SettingsError
from tradewatch.settings.sources import DEFAULT, Setting

FILE = "tradewatch.yaml"
EPILOG = """\b
Examples:
  tradewatch config init                    a file in which every setting is a comment
  tradewatch config check tradewatch.yaml   what is in force with it, and from where
  tradewatch config schema > tradewatch.schema.json

\b
Exit codes: 0 all is well, 1 something is wrong with the settings, 2 the command was called wrongly.
"""
CHECK = """\b
Examples:
  tradewatch config check tradewatch.yaml
  TRADEWATCH_PROFILE=production tradewatch config check
  tradewatch config check tradewatch.yaml --json | jq '.settings[] | select(.origin != "default")'

\b
Each line of what is wrong says where it stands, the setting, its value, and what is accepted.
"""
INIT = """\b
Examples:
  tradewatch config init
  tradewatch config init bots/grid.yaml
  tradewatch config init --force            over a file that is there
"""


@click.group(epilog=EPILOG)
def config() -> None:
    """Check, describe and begin the settings of a bot."""


@config.command(epilog=CHECK)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: valid, settings, problems.")
def check(file: str | None, *, as_json: bool) -> None:
    """Read the settings as a bot would, with the environment, and print what is in force and from where.

    Without FILE it is the one that TRADEWATCH_CONFIG names, or none. Rule files are read too.
    """
    try:
        chosen = in_force(sources.read(config=file, environ=os.environ))
    except SettingsError as error:
        problems = [{name: getattr(each, name) for name in each.__struct_fields__} for each in error.problems]
        _wrong([str(each) for each in error.problems], problems, as_json=as_json)
    except RuleFileError as error:
        lines = [f"{each.file}:{each.line}:{each.column}" for each in error.problems]
        problems = [
            {"where": where, "key": "rules", "value": "", "what": each.found, "accepted": each.accepted}
            for where, each in zip(lines, error.problems, strict=True)
        ]
        _wrong([*map(str, error.problems), *error.__notes__], problems, as_json=as_json)
    if as_json:
        settings = [{"key": each.key, "value": _masked(each), "origin": each.origin} for each in chosen.listed]
        click.echo(json.dumps({"valid": True, "settings": settings, "problems": []}))
        return
    rows = [(each.key, _text(each), each.origin) for each in chosen.listed]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        line = f"{key:<{wide[0]}}  {value:<{wide[1]}}  "
        _say(line, origin, dim=origin == DEFAULT)


@config.command(epilog="\b\nExamples:\n  tradewatch config schema > tradewatch.schema.json\n")
def schema() -> None:
    """Print JSON Schema of a settings file, for editors and other checkers."""
    click.echo(json.dumps(written.schema(), indent=2))


@config.command(epilog=INIT)
@click.argument("file", default=FILE)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(file: str, *, force: bool) -> None:
    """Write a settings file in which every setting stands as a comment, with its meaning and what is accepted."""
    try:
        with Path(file).open("w" if force else "x", encoding="utf-8", newline="\n") as stream:
            stream.write(written.template())
    except FileExistsError as error:
        raise click.ClickException(f"{file} is there already; --force writes over it") from error
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}; accepted is a file that can be written") from error
    click.echo(f"{file} written; what is in force with it: tradewatch config check {file}")


def _wrong(lines: list[str], problems: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"valid": False, "settings": [], "problems": problems}))
    for line in [] if as_json else lines:
        click.echo(scrubber.text(line), err=True)
    sys.exit(1)


def _masked(setting: Setting) -> Any:
    value = setting.value
    if not isinstance(value, str):
        return value
    # The name of a folder may hold bytes that are no text.
    return scrubber.attribute(setting.key, value.encode("utf-8", "replace").decode())


def _text(setting: Setting) -> str:
    value = _masked(setting)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(scrubber.text, value))
    return "–" if value is None else str(value)


def _say(line: str, origin: str, *, dim: bool) -> None:
    """Colour on a terminal that has not been asked for none; the text says everything without it."""
    plain = bool(os.environ.get("NO_COLOR"))
    click.echo(line + (origin if plain else click.style(origin, dim=dim, bold=not dim)))
