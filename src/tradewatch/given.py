"""What the caller of `instrument` gives, checked before anything is begun."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tradewatch.rules import Group, default_groups, limit_values, load_files, read_limits

LAST_PORT = 65_535


def bot_name(bot: Any, name: str | None) -> str:
    """The bot's name: as given, else its class's, as a name that a folder can have.

    Raises:
        ValueError: a name with nothing in it that a folder could be called.
    """
    found = name
    if found is None:
        # Read past whatever the bot's class makes of attributes.
        qualname = type.__dict__["__qualname__"].__get__
        kind = type(bot)
        found = vars(bot)["__name__"] if kind is ModuleType else qualname(bot if issubclass(kind, type) else kind)
    plain = re.sub(r"[^\w.-]+", "-", str(found)).strip("-.")[:80]
    if not plain:
        raise ValueError(f"name {name!r}; accepted: letters, digits, '-', '_' and '.'")
    return plain


def check_port(port: object) -> None:
    """Whether a port can be listened on.

    Raises:
        ValueError: it is no whole number from 0 to 65535, and not None.
    """
    if port is not None and not (type(port) is int and 0 <= port <= LAST_PORT):
        raise ValueError(f"port {port!r}; accepted: 0 (any that is free) to {LAST_PORT}, or None")


def check_clock(clock: object) -> None:
    """Whether a clock is one.

    Raises:
        ValueError: it has not the methods of `tradewatch.model.Clock`, and is not None.
    """
    needed = ("now_ns", "mono_ns", "real_seconds")
    if clock is not None and not all(callable(getattr(clock, name, None)) for name in needed):
        raise ValueError(f"clock {clock!r}; accepted: an object with {', '.join(needed)}, such as paper.Clock, or None")


def rule_groups(files: Sequence[str | os.PathLike[str]] | None) -> tuple[Group, ...]:
    """The rules of files, or the default ones.

    Raises:
        ValueError: one path instead of a list of them.
        RuleFileError: a file that does not load.
    """
    if files is None:
        return default_groups()
    if isinstance(files, str | os.PathLike):
        raise ValueError(f"rules {files!r}; accepted: a list of files, such as [{os.fspath(files)!r}]")
    return load_files([Path(file) for file in files])


def limits_in_force(given: Mapping[str, float] | None, groups: Sequence[Group]) -> dict[str, float]:
    """Every limit by name, with those replaced that are given.

    Raises:
        ValueError: an impossible limit, or one that no rule reads: whoever gives it counts on it.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"limits {given!r}; accepted: numbers by name, such as {{'daily_loss': 0.02}}")
    values = limit_values(given)
    read = read_limits(values, groups)
    for name in given or ():
        if name not in read:
            raise ValueError(
                f"limit {name}: none of the rules reads it, so it would limit nothing; those that they read: "
                f"{', '.join(sorted(read)) or 'none'}. A rule reads it as tradewatch_limit{{limit={name!r}}}"
            )
    return values
