"""The settings of a bot that is being watched: what is in force, and what takes its place while the bot runs."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tradewatch import given
from tradewatch.breaker import Action
from tradewatch.model import Channel, Clock
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.settings import sources
from tradewatch.settings.problems import Problem, SettingsError, shown
from tradewatch.settings.tree import CHANGING, fields

_log = logging.getLogger("tradewatch")
_AS_IT_WAS = "as it was"


class Changes:
    """All or nothing: whatever is wrong in a change, everything stays as it was.

    Args:
        chosen: what is in force at the start.
        apply: puts rules and limits in force; raises where it could not, and has then changed nothing.
        keep: writes a change into the audit.
        bot: the bot's name, for the log.
        clock: of the bot.

    Attributes:
        in_force: the settings now.
        changed_ns: when they last changed, None where they never did; epoch nanoseconds of the clock.
        refused: why the last change did not happen, None where it did.
    """

    def __init__(
        self,
        chosen: given.InForce,
        apply: Callable[[given.InForce], None],
        keep: Callable[[Action], None],
        bot: str,
        clock: Clock,
    ) -> None:
        self._apply = apply
        self._keep = keep
        self._bot = bot
        self._clock = clock
        self._lock = threading.Lock()
        self.in_force = chosen
        self.changed_ns: int | None = None
        self.refused: str | None = None

    @property
    def rereads(self) -> bool:
        """Whether there is a file to read again."""
        return self.in_force.layers.config is not None

    def configure(self, arguments: Mapping[str, Any]) -> None:
        """Put further arguments in force; no file is read again, but rule files that are named.

        Raises:
            SettingsError: something is not accepted, or cannot change while the bot runs.
            RuleFileError: a rule file that does not load.
            RuntimeError: the safety thread does not come to an end.
        """
        with self._lock:
            told = given.told(arguments)
            layers = sources.with_arguments(self.in_force.layers, told)
            groups = None if "rules" in told else self.in_force.groups
            self._take(given.in_force(layers, groups, self.in_force), "configure", "program")

    def reread(self) -> bool:
        """Read file, rule files and environment again; whether they are in force now. What is wrong is on the log.

        The environment of a process changes only where its own program changes it.
        """
        with self._lock:
            before = self.in_force.layers
            try:
                read = sources.read(config=before.config, environ=os.environ, beneath=before.beneath)
                layers = sources.again(read, before)
                self._take(given.in_force(layers, before=self.in_force), "SIGHUP", "signal")
            except Exception as error:
                # Each line of what is wrong in the settings is for the person who changed them.
                said = scrubber.text(str(error)) if isinstance(error, ValueError) else describe(error)
                self.refused = f"a change by SIGHUP IS NOT IN FORCE, everything is as it was: {said}"
                _log.error("settings of %s: %s", self._bot, self.refused)
                with failures.kept("settings"):
                    self._keep(Action("configure", "SIGHUP", "signal", "read again", _AS_IT_WAS, _AS_IT_WAS, said))
                return False
        return True

    def forked(self) -> None:
        """A thread that is not there any more may have held the lock."""
        self._lock = threading.Lock()

    def _take(self, after: given.InForce, how: str, channel: Channel) -> None:
        before = self.in_force
        changed = {
            new.key: (old, new)
            for old, new in zip(_by_key(before), _by_key(after), strict=True)
            if old.value != new.value
        }
        if after.settings.otlp_headers != before.settings.otlp_headers:
            # Both are shown as a mask.
            changed["otlp_headers"] = _of(before, "otlp_headers"), _of(after, "otlp_headers")
        fixed = [pair for key, pair in changed.items() if key.partition(".")[0] not in CHANGING]
        if fixed:
            raise SettingsError(_fixed(new, old.value) for old, new in fixed)
        self._apply(after)
        self.in_force, self.refused = after, None
        self.changed_ns = self._clock.now_ns()
        with failures.kept("settings"):
            was = {key: f"{key} {shown(key, old.value)}" for key, (old, _) in changed.items()}
            now = {key: f"{key} {shown(key, new.value)}" for key, (_, new) in changed.items()}
            gone, added = _rules(before) - _rules(after), _rules(after) - _rules(before)
            # A limit that somebody loosened is worth a warning.
            told = [
                *(f"{was[key]} -> {shown(key, new.value)} ({new.origin})" for key, (_, new) in changed.items()),
                *(f"no more {rule}" for rule, _ in gone),
                *(f"new {rule}" for rule, _ in added),
            ]
            what = ", ".join(told) or "no limit, and nothing that a rule acts by; rule files were read again"
            said = "; ".join((what, *_without_effect(before.layers, after.layers)))
            _log.warning("settings of %s changed by %s: %s", self._bot, how, scrubber.text(said))
            if told:
                why = ", ".join(dict.fromkeys(new.origin for _, new in changed.values())) or "the rule files"
                texts = [
                    "; ".join([*of.values(), *map(": ".join, rules)]) or "nothing"
                    for of, rules in ((was, gone), (now, added))
                ]
                self._keep(Action("configure", how, channel, why, *texts))


def _by_key(chosen: given.InForce) -> list[sources.Setting]:
    return sorted(chosen.listed, key=lambda setting: list(fields()).index(setting.key))


def _rules(chosen: given.InForce) -> Counter[tuple[str, str]]:
    """Each rule: its name with what it does, and when it is true."""
    return Counter(
        (
            f"rule {rule.name} ({rule.action})",
            " ".join(rule.expr.split())
            + (f", for {rule.for_s:g} s" if rule.for_s else "")
            + (f", every {group.interval_s:g} s" if group.interval_s is not None else "")
            + (f", {group.limit} alerts at most" if group.limit else ""),
        )
        for group in chosen.groups
        for rule in (each.rule for each in group.rules)
    )


def _without_effect(before: sources.Layers, after: sources.Layers) -> Iterator[str]:
    """What was changed in the file where something stronger says otherwise: whoever changed it counts on it."""
    strongest = after.given()
    for key, new in after.file.items():
        wins, old = strongest[key], before.file.get(key)
        if wins is not new and (old is None or old.value != new.value):
            how = "an argument" if wins.origin == "argument" else f"{wins.origin}, as it was at the program's start,"
            yield f"{key} {shown(key, new.value)} ({new.origin}) HAS NO EFFECT: {how} wins over the file"


def _of(chosen: given.InForce, key: str) -> sources.Setting:
    return next(setting for setting in chosen.listed if setting.key == key)


def _fixed(new: sources.Setting, old: Any) -> Problem:
    return Problem(
        new.origin,
        new.key,
        shown(new.key, new.value),
        f"cannot change while the bot runs, and is {shown(new.key, old)}; nothing was changed",
        f"changes of {' and '.join(CHANGING)}; all else takes a restart",
    )
