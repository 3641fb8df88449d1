"""`make demo`: a market maker trades through a flash crash, tradewatch watches it, and a rule stops it.

A paper exchange replays the prices of 3 March 2023 from 00:50 UTC, 200 times as fast. The bot (market_maker.py, plain
ccxt) keeps most of its money in BTC. At about 01:31, 12 to 13 s after the start, the day's loss passes 3 %, and the
next order is refused. At the end the figures are held against the exchange's own books.
"""

import argparse
import asyncio
import os
import sys

BOUNDED_S = 30.0


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="A bot, a crash, a halt: on a terminal until Ctrl-C, else 30 s.")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help="end by itself after N seconds (the halt needs 15)"
    )
    given = parser.parse_args()
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    seconds = given.seconds if given.seconds is not None or on_terminal else BOUNDED_S
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    until = "with Ctrl-C" if seconds is None else f"by itself after {seconds:g} s, or with Ctrl-C"
    print("tradewatch demo: a market maker, the flash crash of 3 March 2023, and a rule that stops it")
    print(f"ends {until}; loading ccxt ...")
    try:
        import aiohttp  # noqa: F401  what the paper exchange and ccxt's async clients run on
        from rehearsal import RehearsalError, in_lines, on_screen, rehearse
        from rich.console import Console
    except ImportError as error:
        print(f"error: the demo needs {error.name or error}, which is not installed here.", file=sys.stderr)
        print("Run `make demo`, which installs it into .venv, or: pip install aiohttp ccxt", file=sys.stderr)
        return 1
    console = Console(width=None if on_terminal or "COLUMNS" in os.environ else 100, highlight=False)
    try:
        asyncio.run(rehearse(seconds, on_screen if on_terminal else in_lines, console))
    except RehearsalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("ended at once, without a summary", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the lines has gone; nothing more can be said, and Python is not to try at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86400:
        raise argparse.ArgumentTypeError(f"{text}: accepted is a number of seconds above 0")
    return seconds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted before there was anything to show", file=sys.stderr)
        sys.exit(130)
