"""What is wrong with settings, in words that somebody can act on who has never seen this before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tradewatch.runtime.scrub import MASK, scrubber
from tradewatch.settings.tree import fields

_SHOWN = 60


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    `where` is `file:line:column`, an environment variable or `argument`; `key` the path of the setting, empty where
    the whole of a file is meant; `value` as it was given, cut and scrubbed; `what` is empty for a value that is not
    accepted.
    """

    where: str
    key: str
    value: str
    what: str
    accepted: str

    @property
    def subject(self) -> str:
        """Where, which setting, and the value it was given."""
        gap = " " if self.where == "argument" else ": "
        return self.where + gap + " ".join(filter(None, (self.key, self.value)))

    def __str__(self) -> str:
        """One line."""
        if not self.key:
            return f"{self.where}: {self.what}; accepted: {self.accepted}"
        return f"{self.subject}{': ' if self.what else ''}{self.what}; accepted: {self.accepted}"


class SettingsError(ValueError):
    """Settings that were not taken, with everything that is wrong in them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shown(key: str, value: Any) -> str:
    """A value as a message may show it: short, on one line, without secrets."""
    if value is not None and key in fields() and fields()[key].is_secret:
        return MASK
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    if isinstance(value, int | float | list | tuple):
        # The digits of a number alone may be very many.
        text = repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "a number of many digits"
    else:
        text = "null" if value is None else repr(scrubber.attribute(key, str(value)))
    text = scrubber.text(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def nearest(name: str, names: Sequence[str]) -> str:
    """` (nearest: ...)`, or nothing where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.5) if len(name) < 100 else []
    return f" (nearest: {near[0]})" if near else ""
