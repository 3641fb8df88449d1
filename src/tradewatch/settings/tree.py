"""The settings there are: one frozen tree, and the one source of what is accepted, the JSON Schema and the docs.

A setting is called by its path, such as `limits.daily_loss`. What its type and bounds say is checked by msgspec; what
is accepted is said in words made of the same bounds, or of `accepted` in `extra` where there is more to say.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from tradewatch.runtime.scrub import MASK

LAST_PORT = 65_535
PREFIX = "TRADEWATCH_"
_MOST_WATCHED = 20

Profile = Literal["default", "production", "development", "testing"]


def _ratio(meaning: str) -> Meta:
    return Meta(gt=0, le=1, description=meaning, extra={"unit": "ratio", "accepted": "a ratio above 0, at most 1"})


def _count(of: str, meaning: str) -> Meta:
    return Meta(gt=0, description=meaning, extra={"unit": of, "accepted": f"a number of {of} above 0"})


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What rules compare with, as `tradewatch_limit{limit="..."}`. A ratio is 0 to 1."""

    daily_loss: Annotated[float, _ratio("loss since the start of the UTC day, of the equity then")] = 0.03
    drawdown: Annotated[float, _ratio("how far equity may be below its peak")] = 0.10
    error_rate: Annotated[float, _ratio("exchange calls that venue, network or key make fail, of all in 5 minutes")] = (
        0.05
    )
    rejected_orders: Annotated[float, _count("orders", "orders that a venue rejects in 10 minutes")] = 5.0
    slow_calls: Annotated[float, _ratio("exchange calls that take more than 5 seconds, of all in 5 minutes")] = 0.01
    rate_limit: Annotated[float, _ratio("request weight used, of what the venue allows")] = 0.80
    overhead: Annotated[float, _ratio("CPU that tradewatch itself uses, of one core")] = 0.05


def _text(meaning: str, accepted: str, example: str, **more: Any) -> Meta:
    return Meta(description=meaning, examples=[example], extra={"accepted": accepted, **more})


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set outside of the bot's code."""

    profile: Annotated[Profile, Meta(description="which defaults are in force", extra={})] = "default"
    name: Annotated[
        Annotated[str, Meta(pattern=r"\w")] | None,
        _text(
            "the bot's name, of its state folder and as `service.name`; its class's unless set, or the script's under "
            "opentelemetry-instrument",
            "a text with a letter or a digit; what is none of these and no '-', '_' or '.' in it becomes '-'",
            "grid-1",
        ),
    ] = None
    state_dir: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _text(
            "the folder of halts, fills and the day's start; `~/.local/state/tradewatch/<name>` unless set",
            "a folder",
            "/var/lib/tradewatch/grid-1",
            path=True,
        ),
    ] = None
    account: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _text(
            "the account's name in telemetry, with the venue's behind it; a salted hash of the API key unless set",
            "a name that is no key",
            "main",
        ),
    ] = None
    currency: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9.]{1,20}$")] | None,
        _text(
            "what equity is shown in; the quote currency of the first market seen unless set",
            "the code of a currency, such as USDT",
            "USDT",
        ),
    ] = None
    strategy: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _text("the strategy's name, on the span of each call and order", "a name", "mean-reversion"),
    ] = None
    otlp_headers: Annotated[
        Annotated[str, Meta(pattern=r"^[!#-+\-.0-9A-Z^-z|~]+=[^\x00-\x1f]*$")] | None,
        _text(
            "headers of what is exported by OTLP, in place of those of OTEL_EXPORTER_OTLP_HEADERS; a secret, which is "
            "better kept in `otlp_headers_file`",
            "name=value, several with commas between",
            "authorization=Bearer ...",
            secret=True,
        ),
    ] = None
    otlp_headers_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _text(
            "a file that holds `otlp_headers`, read at the start; unless set, systemd's credential "
            "`tradewatch.otlp_headers` where there is one",
            "a file",
            "/run/secrets/otlp_headers",
            path=True,
        ),
    ] = None
    limits: Limits = Limits()
    rules: Annotated[
        Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)] | None,
        _text(
            "rule files in Prometheus's format **in place of** the rules that ship: what then halts is what they say",
            "a list of files",
            "rules.yaml",
            path=True,
            between=os.pathsep,
        ),
    ] = None
    port: Annotated[
        Annotated[int, Meta(ge=0, le=LAST_PORT)] | None,
        Meta(
            description="of the scrape endpoint on 127.0.0.1; 0 takes a free one, null serves none",
            extra={"accepted": f"0 (any that is free) to {LAST_PORT}, or {{none}}"},
        ),
    ] = 9464
    log_files: Annotated[
        Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=_MOST_WATCHED)] | None,
        _text(
            "log files whose size is told, `tradewatch.log_file.size`",
            f"a list of {_MOST_WATCHED} files at most",
            "bot.log",
            path=True,
            between=os.pathsep,
        ),
    ] = None
    processes: Annotated[
        Annotated[tuple[Annotated[str, Meta(pattern="^[^/]+$")], ...], Meta(max_length=_MOST_WATCHED)] | None,
        _text(
            "other programs to look after, by name: whether each runs, its CPU time and memory, `tradewatch.process.*`",
            f"a list of {_MOST_WATCHED} names of programs at most, without a '/'",
            "postgres",
            between=",",
        ),
    ] = None
    pid_files: Annotated[
        Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=_MOST_WATCHED)] | None,
        _text(
            "the same by the files that they write their process id into",
            f"a list of {_MOST_WATCHED} files at most",
            "/run/redis/redis-server.pid",
            path=True,
            between=os.pathsep,
        ),
    ] = None


# What may change while the bot runs; all else is built into threads, files and sockets at the start.
CHANGING = ("profile", "limits", "rules")

# By profile, what differs from the tree's defaults.
PROFILES: Mapping[Profile, Mapping[str, Any]] = {
    "default": {},
    "production": {"limits.daily_loss": 0.015, "limits.error_rate": 0.025},
    "development": {"limits.daily_loss": 0.06},
    "testing": {"port": 0},
}


class Secret(str):
    """A text that no `repr` shows: not that of the tree either, as a crash report has it that lists local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        """A mask."""
        return repr(MASK)


class Field(msgspec.Struct, frozen=True):
    """A setting of the tree, without its value: `key` is its path, `type` what msgspec checks."""

    key: str
    type: Any
    default: Any
    meaning: str
    extra: Mapping[str, Any]
    examples: tuple[Any, ...]

    @property
    def variable(self) -> str:
        """The environment variable that sets it; of limits, one for all of them."""
        return PREFIX + self.key.partition(".")[0].upper()

    @property
    def is_path(self) -> bool:
        """Whether it names a file or a folder, or a list of them."""
        return bool(self.extra.get("path"))

    @property
    def between(self) -> str | None:
        """What stands between the values of a list in an environment variable; None where it is no list."""
        return self.extra.get("between")

    @property
    def is_secret(self) -> bool:
        """Whether its value is shown to nobody."""
        return bool(self.extra.get("secret"))

    @property
    def names(self) -> tuple[str, ...]:
        """The values that there are, where they are named one by one."""
        return tuple(each for each in get_args(_bare(self.type)) if isinstance(each, str))

    def accepted(self, none: str = "null") -> str:
        """What is accepted, in words; `none` is how nothing is spelled where the value comes from."""
        said = self.extra.get("accepted")
        return str(said).format(none=none) if said else ", ".join(self.names)

    def checked(self, value: Any) -> Any:
        """The value as the tree holds it.

        Raises:
            ValueError: it is none that is accepted.
        """
        found = msgspec.convert(value, self.type)
        if self.is_secret and found is not None:
            return Secret(found)
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError(found)
        return found


@cache
def fields() -> Mapping[str, Field]:
    """Every setting by its path, in the order of the tree."""
    found = {}
    for prefix, tree in (("", Settings), ("limits.", Limits)):
        for info in msgspec.structs.fields(tree):
            if info.type is not Limits:
                meta = next(each for each in get_args(info.type) if isinstance(each, Meta))
                found[prefix + info.name] = Field(
                    prefix + info.name,
                    info.type,
                    info.default,
                    meta.description or "",
                    meta.extra or {},
                    tuple(meta.examples or ()),
                )
    return found


def built(values: Mapping[str, Any]) -> Settings:
    """The tree of checked values by path; what is not there has its default."""
    limits = {key.removeprefix("limits."): value for key, value in values.items() if key.startswith("limits.")}
    rest = {key: value for key, value in values.items() if "." not in key}
    return Settings(**rest, limits=Limits(**limits))


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
