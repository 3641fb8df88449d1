"""For `opentelemetry-instrument python main.py`: distro, configurator, instrumentor, and the hook before instrumentors.

There is no bot object then. What is watched is the process, from the first call of an exchange client on; a process
that makes none has neither threads nor files nor a port of ours. The settings of the bot are in the environment:

    OTEL_SERVICE_NAME     the bot's name; else the script's
    TRADEWATCH_STATE_DIR  the state folder; else by the bot's name
    TRADEWATCH_PORT       of the scrape endpoint; else OTEL_EXPORTER_PROMETHEUS_PORT, else 9464; 0 takes a free one
    TRADEWATCH_LIMITS     limits that replace the defaults: daily_loss=0.02,drawdown=0.1
    TRADEWATCH_RULES      rule files that replace the default rules, separated as in PATH

One that cannot be read is said on the log, and what it would have replaced stays in force: nothing here raises.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.util._importlib_metadata import EntryPoint

from tradewatch import given, registry
from tradewatch.rules import Group, RuleFileError, load_files
from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.providers import Providers, connect, exporters, wants_spans

PORT = 9464
_CLOSE_S = 2.0


class Distro(BaseDistro):
    """Chosen by `OTEL_PYTHON_DISTRO=tradewatch`, or where no other distro is installed. Sets nothing by itself."""

    def _configure(self, **kwargs: Any) -> None:
        """Everything is read from the environment where it is used."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load an instrumentor; one that fails is said, and does not keep the others from loading.

        Raises:
            ImportError: for `opentelemetry-instrument`, which skips it.
        """
        try:
            super().load_instrumentor(entry_point, **kwargs)
        except ImportError:
            raise
        except Exception as error:
            failures.note(f"instrumentor {entry_point.name}", error)


class Configurator:
    """Sets up what `OTEL_*` asks for, for all instrumentations of the process; never raises.

    What the environment does not ask for is not made: without it, metrics of the bot are served to Prometheus by
    providers of our own as soon as it calls an exchange.
    """

    def configure(self, **kwargs: Any) -> None:
        """Make providers global where `OTEL_{TRACES,METRICS}_EXPORTER` or an OTLP endpoint wants them."""
        with failures.kept("configurator"):
            spans, measures = wants_spans(), exporters("METRICS")
            pushed = measures is not None and measures != ("none",)
            if spans or pushed:
                _set_up(spans=spans, metrics_too=pushed)


def _set_up(*, spans: bool, metrics_too: bool) -> None:
    made = connect(
        bot_name(),
        port(),
        None if spans else NoOpTracerProvider(),
        None if metrics_too else NoOpMeterProvider(),
        logs=False,
    )
    if made.tracer_provider in made.ours and made.tracer_provider is not None:
        trace.set_tracer_provider(made.tracer_provider)
    if made.meter_provider in made.ours:
        metrics.set_meter_provider(made.meter_provider)
    if made.ours:
        registry.at_end(_Closing(made).close)


class _Closing:
    """Flushes and closes providers at the end, on a thread that is there already: Python starts none by then."""

    def __init__(self, made: Providers) -> None:
        self._made = made
        self.start()
        fork.in_child(self.forked)

    def start(self) -> None:
        """Begin to wait for the end."""
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._close, args=(self._asked,), name="tradewatch-close", daemon=True)
        self._thread.start()

    def forked(self) -> None:
        """The child has the providers, and whoever uses them there, but no thread."""
        self._made.forked()
        self.start()

    def close(self) -> None:
        """Close now; give up after 2 s."""
        self._asked.set()
        self._thread.join(_CLOSE_S)

    def _close(self, asked: threading.Event) -> None:
        asked.wait()
        self._made.shutdown(_CLOSE_S)


def pre_instrument() -> None:
    """Before the instrumentors: one of another library that fails must not leave the bot without a gate."""
    with failures.kept("autoload"):
        said = os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "")
        if not {"ccxt", "tradewatch", "*"} & {name.strip() for name in said.split(",")}:
            registry.watch_process(settings)


class CcxtInstrumentor(BaseInstrumentor):
    """ccxt for OpenTelemetry's own way of instrumenting; `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=ccxt` leaves it out."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """What is instrumented."""
        return ("ccxt >= 4.4",)

    def _instrument(self, **kwargs: Any) -> None:
        pre_instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        with failures.kept("autoload"):
            registry.leave_process()


def settings() -> Mapping[str, Any]:
    """The settings of the process's watch, read from the environment."""
    env = os.environ
    files = _rules(env.get("TRADEWATCH_RULES", ""))
    return {
        "name": bot_name(),
        "state_dir": env.get("TRADEWATCH_STATE_DIR") or None,
        "limits": _limits(env.get("TRADEWATCH_LIMITS", ""), given.rule_groups(files)),
        "rule_files": files,
        "port": port(),
    }


def bot_name() -> str:
    """The service's name as OpenTelemetry's variables have it, else the script's: `main` of `python main.py`."""
    from opentelemetry.sdk.resources import Resource

    named = str(Resource.create().attributes.get("service.name", ""))
    if named and not named.startswith("unknown_service"):
        return named
    script = Path(sys.argv[0] if sys.argv else "")
    # `python -m bots` runs bots/__main__.py, which Python has yet to find when it reads this for the first time.
    if script.name == "-m":
        script = Path(sys.orig_argv[sys.orig_argv.index("-m") + 1].rpartition(".")[2])
    stem = script.parent.name if script.stem == "__main__" else script.stem
    return stem if stem.strip("-.") and stem != "-c" else "python"


def port() -> int | None:
    """The port of the scrape endpoint; None where `OTEL_METRICS_EXPORTER` names other exporters alone."""
    text = os.environ.get("TRADEWATCH_PORT")
    if not text:
        named = exporters("METRICS")
        if named is not None and "prometheus" not in named:
            return None
        text = os.environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or str(PORT)
    if text.isascii() and text.isdigit() and int(text) <= given.LAST_PORT:
        return int(text)
    failures.warn("autoload port", f"port {text!r}: no metrics are served; accepted: 0 (any that is free) to 65535")
    return None


def _limits(text: str, groups: Sequence[Group]) -> dict[str, float]:
    """The limits that are understood and read by a rule; another one keeps its default."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            one = {name: _number(value)}
            given.limits_in_force(one, groups)
        except ValueError as error:
            failures.warn(
                f"autoload limit {name}",
                f"TRADEWATCH_LIMITS: {part!r} IS NOT IN FORCE, the default is: {error}; accepted: name=number,...",
            )
        else:
            found |= one
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _rules(text: str) -> list[Path] | None:
    """The rule files, if all of them load; None for the default rules."""
    files = [Path(part) for part in text.split(os.pathsep) if part]
    try:
        load_files(files)
    except (RuleFileError, OSError) as error:
        failures.warn("autoload rules", f"TRADEWATCH_RULES IS NOT IN FORCE, the default rules are: {error}")
        return None
    return files or None
