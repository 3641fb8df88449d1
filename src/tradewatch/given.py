"""What the caller of `instrument` gives, and what was set elsewhere, checked before anything is begun."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import msgspec

from tradewatch.rules import Group, RuleFileError, default_groups, load_files, read_limits
from tradewatch.runtime.scrub import MASK, scrubber
from tradewatch.settings.problems import Problem, SettingsError, shown
from tradewatch.settings.secret import ACCEPTED, read_secret
from tradewatch.settings.sources import DEFAULT, Layers, Setting
from tradewatch.settings.tree import Settings, fields

# Characters; names that are no secrets are shorter.
_LIKE_A_KEY = 16


class InForce(msgspec.Struct, frozen=True):
    """Settings with the rules that they name, and the sources that they are from."""

    settings: Settings
    listed: tuple[Setting, ...]
    groups: tuple[Group, ...]
    layers: Layers

    @property
    def limits(self) -> dict[str, float]:
        """Every limit by name."""
        return msgspec.structs.asdict(self.settings.limits)


def in_force(layers: Layers, groups: tuple[Group, ...] | None = None, before: InForce | None = None) -> InForce:
    """What the sources say, if all of it is right.

    Args:
        layers: the sources.
        groups: where the rule files are not to be read again.
        before: what has been in force; a file of a secret is not read again.

    Raises:
        SettingsError: something is not accepted, or a limit was given that no rule reads: somebody counts on it.
        RuleFileError: a rule file that does not load.
    """
    if layers.problems:
        raise SettingsError(layers.problems)
    settings, listed = layers.settled()
    settings, unusable = _with_secrets(settings, layers, before)
    try:
        groups = _groups(settings) if groups is None else groups
    except RuleFileError as error:
        origin = next(setting.origin for setting in listed if setting.key == "rules")
        error.add_note(f"the setting rules names that file: {origin}")
        raise
    if wrong := unusable | _unread(layers, groups):
        raise SettingsError(wrong.values())
    return InForce(settings, listed, groups, layers)


def as_far_as_right(layers: Layers) -> tuple[InForce, tuple[str, ...]]:
    """What the sources say, without what is wrong of it; and what IS NOT IN FORCE, one text for each."""
    said: list[str] = []
    problems, right = layers.problems, msgspec.structs.replace(layers, problems=(), passed=layers.problems)
    while True:
        settings, listed = right.settled()
        try:
            groups = _groups(settings)
            break
        except (RuleFileError, OSError) as error:
            origin = right.given()["rules"].origin
            right = right.without("rules")
            instead = right.given().get("rules")
            what = f"those of {instead.origin} are" if instead else "the default rules are"
            said.append(f"{origin}: rules IS NOT IN FORCE, {what}: {error}")
    while wrong := _with_secrets(settings, right)[1] | _unread(right, groups):
        problems = (*problems, *wrong.values())
        for key in wrong:
            right = right.without(key)
        settings = right.settled()[0]
    settings, listed = right.settled()
    settings, _ = _with_secrets(settings, right)
    origins = {setting.key: setting.origin for setting in listed}
    return InForce(settings, listed, groups, right), (*(_lost(each, origins) for each in problems), *said)


def bot_name(bot: Any, name: str | None) -> str:
    """The bot's name: as given, else its class's, as a name that a folder can have."""
    found = name
    if found is None:
        # Read past whatever the bot's class makes of attributes.
        qualname = type.__dict__["__qualname__"].__get__
        kind = type(bot)
        found = vars(bot)["__name__"] if kind is ModuleType else qualname(bot if issubclass(kind, type) else kind)
    return re.sub(r"[^\w.-]+", "-", str(found)).strip("-.")[:80] or "bot"


def check_clock(clock: object) -> None:
    """Whether a clock is one.

    Raises:
        ValueError: it has not the methods of `tradewatch.model.Clock`, and is not None.
    """
    needed = ("now_ns", "mono_ns", "real_seconds")
    if clock is not None and not all(callable(getattr(clock, name, None)) for name in needed):
        raise ValueError(f"clock {clock!r}; accepted: an object with {', '.join(needed)}, such as paper.Clock, or None")


def told(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `instrument` that are settings, without those that were not given."""
    return {
        key: value
        for key, value in arguments.items()
        if value is not msgspec.UNSET and (value is not None or key == "port")
    }


def _groups(settings: Settings) -> tuple[Group, ...]:
    return default_groups() if settings.rules is None else load_files([Path(file) for file in settings.rules])


def _with_secrets(
    settings: Settings, layers: Layers, before: InForce | None = None
) -> tuple[Settings, dict[str, Problem]]:
    """The settings with what the files of secrets hold, known to the scrubber from now on; and what is wrong there."""
    headers, file, given = settings.otlp_headers, settings.otlp_headers_file, layers.given()
    wrong: dict[str, Problem] = {}
    if file is not None and headers is not None:
        what = f"otlp_headers is given too, by {given['otlp_headers'].origin}"
        wrong["otlp_headers_file"] = Problem(
            given["otlp_headers_file"].origin,
            "otlp_headers_file",
            shown("otlp_headers_file", file),
            what,
            "one of both",
        )
    elif file is not None:
        field = fields()["otlp_headers"]
        try:
            if before is not None and before.settings.otlp_headers_file == file:
                headers = before.settings.otlp_headers
            else:
                headers = field.checked(read_secret(file))
        except ValueError as error:
            key, accepted = "otlp_headers_file", ACCEPTED
            what = str(error)
            if isinstance(error, msgspec.ValidationError):
                what, accepted = "what it holds is not accepted", field.accepted()
            wrong[key] = Problem(given[key].origin, key, shown(key, file), what, accepted)
    if headers is not None:
        _learn(headers)
    return msgspec.structs.replace(settings, otlp_headers=headers), wrong


def _learn(headers: str) -> None:
    """Whatever of the headers may be a key: a tenant's name is none, and would be masked wherever else it stands."""
    found = [headers]
    for name, _, value in (each.strip().partition("=") for each in headers.split(",")):
        text = unquote(value).strip()
        if len(text) >= _LIKE_A_KEY or scrubber.attribute(name, text) == MASK:
            # Behind the scheme, of `Bearer ...` and `Basic ...`.
            found += [text, text.rpartition(" ")[2]]
    scrubber.learn(found)


def _unread(layers: Layers, groups: Sequence[Group]) -> dict[str, Problem]:
    """Limits that somebody gave and no rule reads; a profile's may be left unread."""
    names = [key.removeprefix("limits.") for key in fields() if key.startswith("limits.")]
    read = read_limits(names, groups)
    found = {}
    for key, given in layers.given().items():
        name = key.removeprefix("limits.")
        if name != key and name not in read:
            what = (
                f"limit {name}: none of the rules reads it, so it would limit nothing; a rule reads it as "
                f"tradewatch_limit{{limit={name!r}}}"
            )
            found[key] = Problem(given.origin, key, f"{given.value:g}", what, ", ".join(sorted(read)) or "none")
    return found


def _lost(problem: Problem, origins: Mapping[str, str]) -> str:
    if not problem.key:
        return f"{problem.where}: THIS FILE IS NOT IN FORCE: {problem.what}; accepted: {problem.accepted}"
    origin = origins.get(problem.key)
    instead = "" if origin is None else f", {'the default' if origin == DEFAULT else 'that of ' + origin} is"
    what = f"{problem.what}; " if problem.what else ""
    return f"{problem.subject} IS NOT IN FORCE{instead}: {what}accepted: {problem.accepted}"
