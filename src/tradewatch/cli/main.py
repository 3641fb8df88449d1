"""The top of the command line. A command is loaded when it is used: a halt must not wait for the others."""

from __future__ import annotations

import importlib
import os

import click

EPILOG = """\b
Examples:
  tradewatch status                          the bots that run here
  tradewatch halt grid --reason "the news"   the next order of the bot 'grid' is refused
  tradewatch config check FILE               the settings in force, and what is wrong with them
  tradewatch paper --speed 200               a paper exchange that replays a flash crash
"""
_MODULES = {
    "audit": "audit",
    "config": "config",
    "halt": "control",
    "limits": "control",
    "paper": "paper",
    "query": "control",
    "resume": "control",
    "status": "control",
    "top": "top",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        found = getattr(importlib.import_module(f"tradewatch.cli.{_MODULES[cmd_name]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(package_name="tradewatch", message="tradewatch %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Make a trading bot observable and stoppable."""
    if os.environ.get("NO_COLOR"):
        context.color = False
