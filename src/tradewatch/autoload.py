"""For `opentelemetry-instrument python main.py`: distro, configurator, instrumentor, and the hook before instrumentors.

There is no bot object then. What is watched is the process, from the first call of an exchange client on; a process
that makes none has neither threads nor files nor a port of ours. Its settings are those of `instrument`, without
arguments: `TRADEWATCH_*`, and the file that `TRADEWATCH_CONFIG` names. `OTEL_SERVICE_NAME` names the bot where they do
not, else the script does.

One that cannot be read is said on the log, and what it would have replaced stays in force: nothing here raises.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection
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
from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.settings import sources
from tradewatch.settings.tree import LAST_PORT
from tradewatch.telemetry import variables
from tradewatch.telemetry.providers import Providers, connect

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
            spans, measures = variables.wants_spans(), variables.exporters("METRICS")
            pushed = measures is not None and measures != ("none",)
            if spans or pushed:
                _set_up(spans=spans, metrics_too=pushed)


def _set_up(*, spans: bool, metrics_too: bool) -> None:
    chosen = settings().settings
    made = connect(
        given.bot_name(None, chosen.name),
        chosen.port,
        None if spans else NoOpTracerProvider(),
        None if metrics_too else NoOpMeterProvider(),
        logs=False,
        headers=chosen.otlp_headers,
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


def settings() -> given.InForce:
    """The settings of the process's watch; what of them is wrong is said on the log, and is not in force."""
    layers = sources.read(environ=os.environ, beneath=_others())
    chosen, lost = given.as_far_as_right(layers)
    for text in lost:
        # By the text: each is said once a minute at most.
        failures.warn(f"settings {text}", text)
    return chosen


def _others() -> dict[str, sources.Given]:
    """What OpenTelemetry's variables say of settings of ours, and the script's name; weaker than a settings file."""
    name, port = "the script", "OTEL_EXPORTER_PROMETHEUS_PORT"
    found = {"name": sources.Given(bot_name(), name)}
    named, text = variables.exporters("METRICS"), os.environ.get(port)
    if named is not None and "prometheus" not in named:
        found["port"] = sources.Given(None, "OTEL_METRICS_EXPORTER")
    elif text and text.isascii() and text.isdigit() and int(text) <= LAST_PORT:
        found["port"] = sources.Given(int(text), port)
    elif text:
        failures.warn(
            "autoload port", f"{port}: {text!r} IS NOT IN FORCE; accepted: 0 (any that is free) to {LAST_PORT}"
        )
    return found


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
