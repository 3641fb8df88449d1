"""What OpenTelemetry's variables hold, looked at before the SDK reads them.

Of what it cannot use the SDK (1.43 to 1.45) refuses some, a limit of spans as early as when it is imported; takes some
at its word, such as a time-out of 0, which lets nothing through; and rarely says which variable it was. Here each is
said with its name and what is accepted, and while providers are made it holds what the SDK takes without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from tradewatch.runtime.failures import describe, failures

_SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")
_SHOWN = 60
# What a wait and a socket can be told on every platform.
_LONGEST_MS, _LONGEST_S = 10**12, 86_400
_SAMPLERS = (
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
)
_SAMPLER_GROUP, _ID_GROUP = "opentelemetry_traces_sampler", "opentelemetry_id_generator"
PROTOCOL, _GRPC = "http/protobuf", "otlp_proto_grpc"
# All of them are sent by the one protocol that there is.
_OTLP = frozenset(("otlp", "otlp_proto_http", _GRPC))
_KNOWN = _OTLP | {"none", "console", "prometheus"}


class Variable(NamedTuple):
    """What a variable may hold.

    `read` gives a value as the SDK wants it to be written, None where it is not accepted; `unless` stands for one that
    is not set, and is None where a wrong value stays, since it may become right.
    """

    accepted: str
    read: Callable[[str], str | None]
    unless: str | None = ""


def _number(of: type[int] | type[float], least: float, most: float) -> Callable[[str], str | None]:
    def read(said: str) -> str | None:
        try:
            return said if least <= of(said) <= most else None
        except ValueError:
            return None

    return read


def _one_of(*names: str) -> Variable:
    return Variable(", ".join(names), lambda said: said.lower() if said.lower() in names else None, names[0])


def _installed(group: str, *known: str) -> Variable:
    def read(said: str) -> str | None:
        low = said.lower()
        return low if low in known else said if component(group, said) is not None else None

    return Variable(f"{', '.join(known)}, or the name of an installed one", read, known[0])


def _above_0(said: str) -> str | None:
    return _number(float, sys.float_info.min, _LONGEST_S)(said)


def _table() -> dict[str, Variable]:
    size = Variable("a whole number above 0", _number(int, 1, sys.maxsize))
    delay = Variable(f"milliseconds, a whole number from 1 to {_LONGEST_MS}", _number(int, 1, _LONGEST_MS))
    limit = Variable("a whole number from 0", _number(int, 0, sys.maxsize))
    file = Variable("a file that can be read", lambda said: said if os.access(said, os.R_OK) else None, None)
    found = {
        "OTEL_SDK_DISABLED": _one_of("false", "true"),
        "OTEL_CONFIG_FILE": Variable("nothing; the other OTEL_* variables are read instead", lambda said: None),
        "OTEL_TRACES_SAMPLER": _installed(_SAMPLER_GROUP, *_SAMPLERS),
        "OTEL_PYTHON_ID_GENERATOR": _installed(_ID_GROUP, "random"),
        "OTEL_METRICS_EXEMPLAR_FILTER": _one_of("trace_based", "always_on", "always_off"),
        "OTEL_METRIC_EXPORT_INTERVAL": delay._replace(read=_number(float, 1, _LONGEST_MS)),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _one_of("cumulative", "delta", "lowmemory"),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _one_of(
            "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
        ),
    }
    if "traceidratio" in os.environ.get("OTEL_TRACES_SAMPLER", "").lower():
        found["OTEL_TRACES_SAMPLER_ARG"] = Variable("a ratio from 0 to 1", _number(float, 0, 1), "1.0")
    for each in ("OTEL_BSP", "OTEL_BLRP"):
        found |= dict.fromkeys((f"{each}_MAX_QUEUE_SIZE", f"{each}_MAX_EXPORT_BATCH_SIZE"), size)
        found[f"{each}_SCHEDULE_DELAY"] = delay
    for each in ("", "SPAN_", "LOGRECORD_"):
        found |= dict.fromkeys((f"OTEL_{each}ATTRIBUTE_COUNT_LIMIT", f"OTEL_{each}ATTRIBUTE_VALUE_LENGTH_LIMIT"), limit)
    for each in ("EVENT_ATTRIBUTE", "LINK_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK"):
        found[f"OTEL_{each}_COUNT_LIMIT"] = limit
    for signal in _SIGNALS:
        otlp = f"OTEL_EXPORTER_OTLP_{signal}"
        found[f"{otlp}TIMEOUT"] = Variable(f"seconds, above 0 to {_LONGEST_S}", _above_0)
        found[f"{otlp}COMPRESSION"] = _one_of("none", "gzip", "deflate")._replace(unless="")
        found |= dict.fromkeys((f"{otlp}CERTIFICATE", f"{otlp}CLIENT_KEY", f"{otlp}CLIENT_CERTIFICATE"), file)
    return found


@contextmanager
def put_right() -> Iterator[dict[str, str]]:
    """While the block runs, variables that are wrong or blank hold what the SDK takes without them.

    They are replaced and not removed, so a thread that reads the environment meanwhile, in Python or in C, finds each
    of them where it was. But a global provider that nobody has installed is forgotten for good: with such a name
    OpenTelemetry raises wherever it is asked for a tracer or a meter, in the bot's own code too.

    Yields:
        What to say of those that are wrong, by name.
    """
    was, wrong = {}, _without_providers()
    for name, (accepted, read, unless) in _table().items():
        said = os.environ.get(name)
        if said is None:
            continue
        right = read(said.strip()) if said.strip() else unless or ""
        if right is None:
            wrong[name] = f"{name}={shown(said)} {'cannot be read' if unless is None else 'IS NOT IN FORCE'}"
            wrong[name] += f"; accepted: {accepted}"
            right = said if unless is None else unless
        if right != said:
            was[name], os.environ[name] = said, right
    try:
        yield wrong
    finally:
        for name, said in was.items():
            os.environ[name] = said


def _without_providers() -> dict[str, str]:
    wrong = {}
    for kind in ("tracer", "meter", "logger"):
        name = f"OTEL_PYTHON_{kind.upper()}_PROVIDER"
        said = os.environ.get(name)
        if said is not None and not _loads(f"opentelemetry_{kind}_provider", said):
            del os.environ[name]
            if said.strip():
                wrong[name] = f"{name}={shown(said)} IS NOT IN FORCE; accepted: the name of one that is installed"
    return wrong


def _loads(group: str, name: str) -> bool:
    try:
        return component(group, name).load() is not None
    except Exception:  # there is none, or it raises when it is imported
        return False


def shown(said: str) -> str:
    """A value for a line of the log."""
    return repr(said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…")


def number(name: str, unless: float) -> float:
    """What a variable says, in a block of `put_right`."""
    said = os.environ.get(name)
    return float(said) if said else unless


def component(group: str, name: str) -> Any:
    """What is installed under a name for OpenTelemetry to find; None where there is no such thing."""
    return next(iter(entry_points(group=group, name=name)), None)


def sampler() -> Any:
    """The installed one that the variable names; None where it names one of the SDK's own, which reads it itself."""
    argument = os.environ.get("OTEL_TRACES_SAMPLER_ARG")
    return _made("OTEL_TRACES_SAMPLER", _SAMPLER_GROUP, _SAMPLERS, argument)


def id_generator() -> Any:
    """The installed one that the variable names; None has the SDK make its own."""
    return _made("OTEL_PYTHON_ID_GENERATOR", _ID_GROUP, ("random",))


def _made(variable: str, group: str, own: tuple[str, ...], *arguments: Any) -> Any:
    name = os.environ.get(variable, "")
    found = None if name in own else component(group, name)
    try:
        return None if found is None else found.load()(*arguments)
    except Exception as error:
        failures.warn(variable, f"{variable}={shown(name)} IS NOT IN FORCE; it cannot be made: {describe(error)}")
        return None


def exporters(signal: str) -> tuple[str, ...] | None:
    """The names in `OTEL_<signal>_EXPORTER`; None where it is not set."""
    said = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    names = [name.strip() for name in said.split(",") if name.strip()]
    return tuple(name.lower() if name.lower() in _KNOWN else name for name in names) if said else None


def wants_spans() -> bool:
    """Whether OpenTelemetry's variables ask for spans at all."""
    return bool(asked("TRACES"))


def asked(signal: str) -> list[str]:
    """The exporters that OpenTelemetry's variables ask for: `otlp` first, then others by their names."""
    names = exporters(signal)
    if names is None:
        # Of logs an endpoint for all signals says nothing: they may hold what the bot never meant to send.
        asking = [
            f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT",
            *([] if signal == "LOGS" else ["OTEL_EXPORTER_OTLP_ENDPOINT"]),
        ]
        return ["otlp"] if any(os.environ.get(name, "").strip() for name in asking) else []
    if "none" in names:
        return []
    others = dict.fromkeys(name for name in names if name not in _OTLP)
    return (["otlp"] if _OTLP & set(names) else []) + list(others)


def other_protocol(signal: str) -> str | None:
    """The protocol of OTLP that is asked for, where it is not the one there is."""
    if _GRPC in (exporters(signal) or ()):
        return "grpc"
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    said = next((p for p in (os.environ.get(name, "").strip().lower() for name in names) if p), PROTOCOL)
    return None if said == PROTOCOL else said
