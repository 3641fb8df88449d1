"""The top of the command line. A command is loaded when it is used: a halt must not wait for the others."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

_USAGE = "usage: tradewatch [-h] [--version] COMMAND ..."
_HELP = f"""\
{_USAGE}

Make a trading bot observable and stoppable.

commands:
  audit   every halt, resumption and change of settings of a bot; it need not run
  config  check, describe and begin the settings of a bot
  halt    refuse every new order of a bot from now on
  limits  what a bot's rules compare with
  paper   a paper exchange to practise on
  query   the value of a PromQL expression on a bot's own series
  resume  let the orders of a halted bot pass again
  status  what a bot does, earns and risks; a line for every bot that runs
  top     the live view of a bot that runs

examples:
  tradewatch status                          the bots that run here
  tradewatch halt grid --reason "the news"   the next order of the bot 'grid' is refused
  tradewatch config check FILE               the settings in force, and what is wrong with them
  tradewatch paper --speed 200               a paper exchange that replays a flash crash

tradewatch COMMAND --help says more of each.
"""
# By name, the module that has it.
COMMANDS = {
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


def main() -> int:
    """Run the command that this process was started for; its exit code."""
    # Where a service or a cron job has closed them.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a pipe of another encoding cannot show must not keep the rest away.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
        # At its end Python would look through all that was loaded, for cycles: 4 ms of a halt.
        gc.freeze()
    except BrokenPipeError:
        _give_up_output()
        return 1
    except OSError as error:
        _give_up_output()
        print(f"Error: not all could be printed: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _give_up_output() -> None:
    """At the end Python would try to write the rest, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if arguments else 2
    if name == "--version":
        from importlib.metadata import version

        print(f"tradewatch {version('tradewatch')}")
        return 0
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, n=1)
        meant = f" (nearest: {near[0]})" if near else ""
        print(f"{_USAGE}\nError: no command {name!r}{meant}; accepted: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = getattr(importlib.import_module(f"tradewatch.cli.{COMMANDS[name]}"), name)
    return int(command(arguments[1:], f"tradewatch {name}"))
