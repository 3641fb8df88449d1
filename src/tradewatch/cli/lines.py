"""A running bot where there is no terminal: plain lines of what happens."""

from __future__ import annotations

from tradewatch.cli import live
from tradewatch.status import Status


class Lines:
    """What has happened since the last look, and a line of the status every so often.

    Args:
        every_s: seconds of the bot's clock between those lines.
    """

    def __init__(self, every_s: float) -> None:
        self._every_ns = int(every_s * 1e9)
        self._before: Status | None = None
        self._next_ns = 0

    def of(self, now: Status) -> list[str]:
        """What to print at this look, each with the time of day."""
        lines, self._before = live.news(self._before, now), now
        if now.at_ns >= self._next_ns:
            self._next_ns = now.at_ns - now.at_ns % self._every_ns + self._every_ns
            lines.append(live.line(now))
        return [f"{live.moment(now.at_ns)[11:]} {each}" for each in lines]
