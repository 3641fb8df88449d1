"""The top of the command line."""

from __future__ import annotations

from importlib.metadata import version

import click

from tradewatch.cli.config import config
from tradewatch.cli.paper import paper

EPILOG = """\b
Examples:
  tradewatch config check FILE      the settings in force, and what is wrong with them
  tradewatch paper --speed 200      a paper exchange that replays a flash crash
  tradewatch paper --help           everything that it can do
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(version("tradewatch"), message="tradewatch %(version)s")
def main() -> None:
    """Make a trading bot observable and stoppable."""


main.add_command(config)
main.add_command(paper)
