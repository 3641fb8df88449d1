"""Where settings come from: profile, file, environment, arguments; the later one wins, each value by itself.

A value that is wrong is never taken: what is weaker stays in force, and whoever asks decides whether the problem is an
error (`instrument`, `config check`) or said on the log (a bot that is watched without code).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tradewatch.runtime.scrub import MASK
from tradewatch.settings.problems import Problem, nearest, shown
from tradewatch.settings.secret import credential
from tradewatch.settings.tree import LAST_PORT, PREFIX, PROFILES, Field, Limits, Profile, Settings, built, fields

if TYPE_CHECKING:
    from tradewatch.settings.yaml import At, Document

CONFIG = PREFIX + "CONFIG"
# Not of a bot: where the servers of tradewatch's own tests are.
_OF_TESTS = PREFIX + "SERVERS"
DEFAULT = "default"
# `<(...)` in bash and zsh, and standard input.
_HANDED_OVER = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


class Given(msgspec.Struct, frozen=True):
    """A value that is accepted, and where it was given: `file:line`, a variable, `argument`."""

    value: Any
    origin: str


Layer = Mapping[str, Given]


class Setting(msgspec.Struct, frozen=True):
    """A setting in force, and where its value is from: as `Given.origin`, or `default`, or `profile <name>`.

    Of a secret the value is a mask.
    """

    key: str
    value: Any
    origin: str


class Layers(msgspec.Struct, frozen=True):
    """What each source says, by path, and what was wrong in it.

    `beneath` is what another system's variables say. `passed` is what was wrong and was passed over at the start.
    """

    config: str | None
    beneath: Layer = {}
    file: Layer = {}
    environment: Layer = {}
    arguments: Layer = {}
    problems: tuple[Problem, ...] = ()
    passed: tuple[Problem, ...] = ()

    def given(self) -> dict[str, Given]:
        """The strongest value of each setting that somebody gave; of profiles nothing."""
        return {**self.beneath, **self.file, **self.environment, **self.arguments}

    def without(self, key: str) -> Layers:
        """The same without the strongest value of a setting."""
        for name in ("arguments", "environment", "file", "beneath"):
            layer: Layer = getattr(self, name)
            if key in layer:
                return msgspec.structs.replace(self, **{name: {k: v for k, v in layer.items() if k != key}})
        return self

    def settled(self) -> tuple[Settings, tuple[Setting, ...]]:
        """The tree, and each setting of it with its origin."""
        given = self.given()
        profile = cast(Profile, given["profile"].value if "profile" in given else DEFAULT)
        origin = f"profile {profile}"
        found = {key: Given(value, origin) for key, value in PROFILES[profile].items()} | given
        settings = built({key: each.value for key, each in found.items()})
        default = {key: Given(field.default, DEFAULT) for key, field in fields().items()}
        listed = (default | found).items()
        return settings, tuple(Setting(key, _masked(fields()[key], each.value), each.origin) for key, each in listed)


def _masked(field: Field, value: Any) -> Any:
    return MASK if field.is_secret and value is not None else value


def read(
    *,
    config: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str],
    arguments: Mapping[str, Any] | None = None,
    beneath: Layer | None = None,
) -> Layers:
    """Read every source.

    Args:
        config: the settings file; what `TRADEWATCH_CONFIG` names unless given; none where both are missing.
        environ: the environment.
        arguments: values by the names of the tree, `limits` as a mapping; what is not given is not in it.
        beneath: values that are weaker than a file's.
    """
    path = str(os.fspath(config)) if config is not None else environ.get(CONFIG) or None
    problems: list[Problem] = []
    file = _file(os.path.expanduser(path), problems) if path is not None else {}
    found = Layers(
        None if path is None else os.path.abspath(os.path.expanduser(path)),
        {**(beneath or {}), **_credentials(environ)},
        file,
        _environment(environ, problems),
    )
    return with_arguments(msgspec.structs.replace(found, problems=tuple(problems)), arguments or {})


def with_arguments(layers: Layers, arguments: Mapping[str, Any]) -> Layers:
    """The same with further arguments, which replace those that were there one by one."""
    problems: list[Problem] = []
    taken = _Taking("argument", lambda at, key: "argument", "None", problems)
    taken.tree({key: plain(value) for key, value in arguments.items()})
    return msgspec.structs.replace(
        layers, arguments={**layers.arguments, **taken.found}, problems=(*layers.problems, *problems)
    )


def again(read: Layers, before: Layers) -> Layers:
    """What was read again, with the arguments of before.

    What was wrong in the environment and passed over is passed over again: of a process that runs nobody can mend it.
    """
    passed = tuple(each for each in read.problems if each.where.startswith(PREFIX) and each in before.passed)
    problems = tuple(each for each in read.problems if each not in passed)
    return msgspec.structs.replace(read, arguments=before.arguments, problems=problems, passed=passed)


class _Taking:
    """Takes what is accepted of plain values; the rest becomes problems."""

    def __init__(
        self,
        origin: str,
        where: Callable[[At, bool], str],
        none: str,
        problems: list[Problem],
        folder: Path | None = None,
    ) -> None:
        self.found: dict[str, Given] = {}
        self._origin = origin
        self._where = where
        self._none = none
        self._problems = problems
        self._folder = folder

    def tree(self, values: Mapping[str, Any]) -> None:
        """The whole tree as a mapping."""
        names = Settings.__struct_fields__
        for name, value in values.items():
            if name == "limits":
                self._limits(value)
            elif name in names:
                self.take(fields()[name], value, (name,))
            else:
                self._unknown((name,), value, names)

    def _limits(self, value: Any) -> None:
        names = Limits.__struct_fields__
        if value is None:
            return
        if not isinstance(value, dict):
            accepted = "numbers by name, such as {'daily_loss': 0.02}"
            if self._none == "null":
                accepted = "numbers by name below it, such as '  daily_loss: 0.02'"
            self._wrong(("limits",), shown("limits", value), "", accepted)
            return
        for name, each in value.items():
            if name in names:
                self.take(fields()[f"limits.{name}"], each, ("limits", name))
            else:
                self._unknown(("limits", str(name)), each, names)

    def take(self, field: Field, value: Any, at: At) -> None:
        """One value."""
        try:
            found = field.checked(value)
        except ValueError:  # which msgspec's ValidationError is
            self._wrong(at, shown(field.key, value), "", field.accepted(self._none) + _hint(field, value))
            return
        if field.is_path and found is not None:
            found = self._located(found) if isinstance(found, str) else tuple(map(self._located, found))
        self.found[field.key] = Given(found, self._origin if self._folder is None else self._line(at))

    def _located(self, path: str) -> str:
        """Absolute; from a file's folder where a file says it."""
        return os.path.abspath(os.path.join(self._folder or "", os.path.expanduser(path)))

    def _line(self, at: At) -> str:
        return self._where(at, True).rpartition(":")[0]

    def _unknown(self, at: At, value: Any, names: tuple[str, ...]) -> None:
        name = str(at[-1])
        what = f"no such setting{nearest(name, names)}"
        self._wrong(at, shown(name, value), what, ", ".join(names), key=True)

    def _wrong(self, at: At, value: str, what: str, accepted: str, *, key: bool = False) -> None:
        path = ".".join(map(str, at))
        self._problems.append(Problem(self._where(at, key), path, value, what, accepted))


def _file(path: str, problems: list[Problem]) -> Layer:
    from tradewatch.settings.yaml import YamlError, read_file

    try:
        document = read_file(path)
    except YamlError as error:
        where = f"{error.file}:{error.line}:{error.column}"
        problems.append(Problem(where, "", "", error.found, error.accepted))
        return {}
    if document.value is None:
        return {}
    if not isinstance(document.value, dict):
        first = next(iter(fields()))
        accepted = f"settings, one 'name: value' a line, such as '{first}: production'"
        problems.append(Problem(_place(document, (), key=False), "", "", "no settings", accepted))
        return {}
    # What a shell hands over has no folder of its own.
    folder = Path.cwd() if path.startswith(_HANDED_OVER) else Path(path).absolute().parent
    taken = _Taking(path, lambda at, key: _place(document, at, key=key), "null", problems, folder)
    taken.tree(document.value)
    return taken.found


def _place(document: Document, at: At, *, key: bool) -> str:
    place = document.key_place(at) if key else document.place(at)
    return f"{document.file}:{place.line}:{place.column}"


def _environment(environ: Mapping[str, str], problems: list[Problem]) -> Layer:
    found: dict[str, Given] = {}
    variables = {field.variable: field for field in fields().values()}
    for variable in sorted(environ):
        text = environ[variable].strip()
        if not variable.startswith(PREFIX) or variable in (CONFIG, _OF_TESTS) or not text:
            continue
        taken = _Taking(variable, lambda at, key, variable=variable: variable, "none", problems)  # type: ignore[misc]
        field = variables.get(variable)
        if field is None:
            known = (CONFIG, *variables)
            what = f"no such variable{_nearest_variable(variable, known)}"
            problems.append(Problem(variable, variable, shown(variable, text), what, ", ".join(known)))
        elif field.key.startswith("limits."):
            taken.found.update(_limits(variable, text, problems))
        else:
            taken.take(field, _spelled(field, text), (field.key,))
        found |= taken.found
    return found


def _credentials(environ: Mapping[str, str]) -> Layer:
    """What systemd hands over; weaker than a settings file, which names another one on purpose."""
    found = {}
    for key, field in fields().items():
        if field.is_secret and (path := credential(f"tradewatch.{key}", environ)) is not None:
            found[f"{key}_file"] = Given(path, "CREDENTIALS_DIRECTORY")
    return found


def _nearest_variable(variable: str, known: tuple[str, ...]) -> str:
    near = nearest(variable.removeprefix(PREFIX), tuple(each.removeprefix(PREFIX).lower() for each in known))
    return near and f" (nearest: {PREFIX}{near.removeprefix(' (nearest: ').upper()}"


def _limits(variable: str, text: str, problems: list[Problem]) -> Layer:
    """`daily_loss=0.02,drawdown=0.1`, each limit by itself."""
    taken = _Taking(variable, lambda at, key: variable, "none", problems)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        taken.tree({"limits": {name: _number(value)}})
    return taken.found


def _spelled(field: Field, text: str) -> Any:
    """What a variable's text says, by the type of its setting; text that says none is left as it is."""
    if field.between is not None:
        return [part for each in text.split(field.between) if (part := each.strip())]
    if field.key == "port":
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else _none(text)
    return text


def _none(text: str) -> str | None:
    return None if text.lower() in ("none", "null") else text


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def plain(value: Any) -> Any:
    """What a program hands in, as a file would have it: paths as text, kinds of numbers and text as their own."""
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(value)
    return value


def _hint(field: Field, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if field.extra.get("unit") == "ratio":
        if number and 1 < value <= 100:
            return f" (for {value:g} per cent write {value / 100:g})"
        if isinstance(value, str) and isinstance(per_cent := _number(value.rstrip().removesuffix("%")), float):
            ratio = per_cent / 100 if "%" in value else per_cent
            return f" (write {ratio:g}{'' if '%' in value else ' without quotes'})" if 0 < ratio <= 1 else ""
    if isinstance(value, str):
        if field.between is not None:
            return f", such as [{value!r}]"
        if field.key == "port" and isinstance(_spelled(field, value), int) and int(value) <= LAST_PORT:
            return f" (write {value} without quotes)"
        if field.key == "profile":
            return nearest(value, field.names)
    return ""
