"""What OpenTelemetry's variables hold: junk is said and stops nothing, what is right means what it means elsewhere."""

import os
import subprocess
import sys

import pytest

from scripted_collectors import spans, warned
from tradewatch.telemetry.providers import connect

HUGE, KEY = "9" * 5_000, "zV4mTelemetryKey"
OTLP = "OTEL_EXPORTER_OTLP"
WHOLE, FROM_0 = "a whole number above 0", "a whole number from 0"
SECONDS, DELAY = "seconds, above 0 to 86400", "milliseconds, a whole number from 1 to 1000000000000"
SAMPLERS = (
    "parentbased_always_on, parentbased_always_off, parentbased_traceidratio, always_on, always_off, traceidratio, "
    "or the name of an installed one"
)
JUNK = {
    **{f"{OTLP}_TIMEOUT={v}": SECONDS for v in ("soon", "0", "-1", "nan", "inf", "1e30", HUGE)},
    f"{OTLP}_TRACES_TIMEOUT=0": SECONDS,
    f"{OTLP}_COMPRESSION=zstd": "none, gzip, deflate",
    f"{OTLP}_METRICS_COMPRESSION=br": "none, gzip, deflate",
    f"{OTLP}_METRICS_TEMPORALITY_PREFERENCE=sum": "cumulative, delta, lowmemory",
    f"{OTLP}_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=x": "explicit_bucket_histogram, base2_exponential_bucket_histogram",
    **{f"OTEL_BSP_MAX_QUEUE_SIZE={v}": WHOLE for v in ("many", "0", "-1", "1.5", HUGE)},
    f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE={HUGE}": WHOLE,
    **{f"OTEL_BSP_SCHEDULE_DELAY={v}": DELAY for v in ("often", "0", "9" * 30, HUGE)},
    f"OTEL_BLRP_MAX_QUEUE_SIZE={HUGE}": WHOLE,
    f"OTEL_BLRP_SCHEDULE_DELAY={'9' * 30}": DELAY,
    **{f"OTEL_METRIC_EXPORT_INTERVAL={v}": DELAY for v in ("often", "0", "9" * 30, HUGE)},
    "OTEL_METRICS_EXEMPLAR_FILTER=odd": "trace_based, always_on, always_off",
    "OTEL_TRACES_SAMPLER=jaeger_remote": SAMPLERS,
    "OTEL_PYTHON_ID_GENERATOR=xray": "random, or the name of an installed one",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=-1": FROM_0,
    "OTEL_ATTRIBUTE_COUNT_LIMIT=junk": FROM_0,
    f"OTEL_SPAN_EVENT_COUNT_LIMIT={'9' * 30}": FROM_0,
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT=junk": FROM_0,
    "OTEL_SDK_DISABLED=yes": "false, true",
    "OTEL_CONFIG_FILE=otel.yaml": "nothing; the other OTEL_* variables are read instead",
}


@pytest.mark.parametrize("which", JUNK, ids=lambda which: which[:60])
def test_what_cannot_be_is_said_with_what_is_accepted_and_everything_is_exported(
    collect, exported, monkeypatch, caplog, which
):
    collector = collect()
    exported(collector.url)
    variable, _, value = which.partition("=")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    monkeypatch.setenv(variable, value)
    providers = connect("bot", None, None, None)
    spans(providers, "one")
    providers.meter_provider.get_meter("t").create_counter("c").add(1)
    providers.shutdown(10)
    shown = repr(value if len(value) <= 60 else value[:60] + "…")
    said = f"{variable}={shown} IS NOT IN FORCE; accepted: {JUNK[which]}"
    assert (providers.notes, warned(caplog)) == ((said,), [said])
    assert os.environ[variable] == value
    assert [span.name for span in collector.spans()] == ["one"]
    assert "c" in collector.last_metrics()
    assert providers.dropped() == []


BLANK = sorted({which.partition("=")[0] for which in JUNK} | {"OTEL_TRACES_EXPORTER", f"{OTLP}_PROTOCOL"})


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("variable", BLANK)
def test_a_blank_variable_is_as_none(collect, exported, monkeypatch, caplog, variable, value):
    collector = collect()
    exported(collector.url)
    monkeypatch.setenv(variable, value)
    providers = connect("bot", None, None, None)
    spans(providers, "one")
    providers.shutdown(10)
    assert (providers.notes, warned(caplog)) == ((), [])
    assert [span.name for span in collector.spans()] == ["one"]


def test_each_of_several_is_said(collect, exported, monkeypatch, caplog):
    exported(collect().url)
    monkeypatch.setenv(f"{OTLP}_COMPRESSION", "zstd")
    monkeypatch.setenv(f"{OTLP}_HEADERS", KEY)
    monkeypatch.setenv(f"{OTLP}_PROTOCOL", "grpc")
    connect("bot", None, None, None).shutdown(10)
    for said in ("COMPRESSION='zstd'", "not written as name=value", "not 'grpc'"):
        assert any(said in line for line in warned(caplog)), said
    assert KEY not in caplog.text


def test_nothing_is_said_for_an_applications_own_providers(application, monkeypatch, caplog):
    monkeypatch.setenv(f"{OTLP}_TIMEOUT", "0")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    providers = connect("bot", None, application.tracers, application.meters)
    assert (providers.notes, warned(caplog)) == ((), [])


@pytest.mark.parametrize("provider", ["TRACER", "METER", "LOGGER"])
def test_a_global_provider_that_there_is_none_of_is_said(collect, exported, monkeypatch, caplog, provider):
    collector, variable = collect(), f"OTEL_PYTHON_{provider}_PROVIDER"
    exported(collector.url)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    monkeypatch.setenv(variable, "mine")
    providers = connect("bot", None, None, None)
    spans(providers, "one")
    providers.shutdown(10)
    said = f"{variable}='mine' IS NOT IN FORCE; accepted: the name of one that is installed"
    assert (providers.notes, warned(caplog)) == ((said,), [said])
    assert variable not in os.environ
    assert [span.name for span in collector.spans()] == ["one"]


@pytest.mark.parametrize("value", [f"{KEY}%0Ax", f"%E2%82%AC{KEY}", f"{KEY}%00", f"x%0D%0Aother:{KEY}"])
@pytest.mark.parametrize("own", [False, True])
def test_a_header_that_cannot_be_sent_is_said_without_its_key(scripted, ours, caplog, value, own):
    name = f"{OTLP}_{'TRACES_' if own else ''}HEADERS"
    collector = scripted()
    providers = ours(collector.url, **{name: f"x-team={value}"})
    [note] = providers.notes
    assert note == f"no traces by OTLP: ValueError: {name}: a header in it has characters that none can have"
    assert warned(caplog) == [note]
    assert (providers.tracer_provider, collector.requests) == (None, [])
    assert KEY not in caplog.text


def test_a_key_that_a_collector_repeats_is_masked(scripted, ours, caplog):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    answer.partial_success.error_message = f"{KEY} and basic-{KEY} are not known"
    collector = scripted((200, {}, answer.SerializeToString()))
    providers = ours(collector.url, OTEL_EXPORTER_OTLP_HEADERS=f"api-key={KEY},x-team=basic-{KEY}")
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert collector.headers[0]["api-key"] == KEY
    assert any("*** and *** are not known" in line for line in warned(caplog))
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("said", "better"),
    [
        (" http://127.0.0.1:4318/ ", "http://127.0.0.1:4318/"),
        ("http://a b", "http://host:4318"),
        ("***@host:4318", "http://***@host:4318"),
    ],
)
def test_an_endpoint_with_blanks_or_a_password_is_said_without_it(ours, caplog, said, better):
    providers = ours("", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=said.replace("***", f"user:{KEY}"))
    assert KEY not in caplog.text
    [note] = providers.notes
    assert note.endswith(f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={said!r} is no address of a collector; write {better}")


@pytest.mark.parametrize("kind", ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"])
def test_a_file_that_is_not_there_is_said_at_the_start(scripted, ours, kind):
    name = f"{OTLP}_TRACES_{kind}"
    providers = ours(scripted().url, **{name: "/no/such/file"})
    assert providers.notes == (f"{name}='/no/such/file' cannot be read; accepted: a file that can be read",)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "otlp_proto_grpc"),
        (f"{OTLP}_PROTOCOL", "grpc"),
        (f"{OTLP}_TRACES_PROTOCOL", " GRPC "),
    ],
)
def test_grpc_is_said_not_to_be_spoken_and_http_is(scripted, ours, variable, value):
    collector = scripted()
    providers = ours(collector.url, **{variable: value})
    assert providers.notes == ("traces: OTLP goes by http/protobuf, not 'grpc'; a collector's HTTP port is 4318",)
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert collector.names() == ["one"]


@pytest.mark.parametrize("value", [" http/protobuf ", "HTTP/Protobuf"])
def test_the_protocol_there_is_may_be_written_with_blanks(scripted, ours, value):
    assert ours(scripted().url, OTEL_EXPORTER_OTLP_PROTOCOL=value).notes == ()


INSTALLED = """
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

def sampler(argument):
    if argument == "raise":
        raise ValueError("no such ratio")
    return ALWAYS_OFF if argument == "nothing" else ALWAYS_ON

class Ids(RandomIdGenerator):
    def generate_trace_id(self):
        return 7

def exporter():
    return InMemorySpanExporter()
"""


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A distribution that has a sampler, a generator of ids and an exporter."""
    (tmp_path / "mine.py").write_text(INSTALLED)
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[opentelemetry_traces_sampler]\nMine = mine:sampler\n"
        "[opentelemetry_id_generator]\nMine = mine:Ids\n"
        "[opentelemetry_traces_exporter]\nMy_otlp = mine:exporter\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


@pytest.mark.parametrize(("argument", "kept"), [("nothing", []), ("all", ["one"]), (None, ["one"])])
def test_a_sampler_that_is_installed_is_honoured(scripted, ours, installed, argument, kept):
    collector = scripted()
    more = {} if argument is None else {"OTEL_TRACES_SAMPLER_ARG": argument}
    providers = ours(collector.url, OTEL_TRACES_SAMPLER="Mine", **more)
    spans(providers, "one")
    providers.shutdown(10)
    assert (collector.names(), providers.notes) == (kept, ())


def test_a_sampler_that_cannot_be_made_is_said(scripted, ours, installed, caplog):
    collector = scripted()
    providers = ours(collector.url, OTEL_TRACES_SAMPLER="Mine", OTEL_TRACES_SAMPLER_ARG="raise")
    spans(providers, "one")
    providers.shutdown(10)
    assert collector.names() == ["one"]
    said = "OTEL_TRACES_SAMPLER='Mine' IS NOT IN FORCE; it cannot be made: ValueError: no such ratio"
    # What follows is the SDK's own line.
    assert warned(caplog)[0] == said


@pytest.mark.parametrize("value", [" Always_Off ", "always_off"])
def test_a_sampler_of_the_sdk_may_be_written_with_blanks(scripted, ours, value):
    providers = ours(scripted().url, OTEL_TRACES_SAMPLER=value)
    assert not providers.tracer_provider.get_tracer("t").start_span("one").is_recording()


@pytest.mark.parametrize(("ratio", "kept"), [("0", False), ("1", True)])
def test_a_ratio_is_that_of_the_sdk(scripted, ours, ratio, kept):
    providers = ours(scripted().url, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=ratio)
    assert providers.tracer_provider.get_tracer("t").start_span("one").is_recording() == kept


def test_a_ratio_that_is_none_is_said_and_everything_is_kept(scripted, ours):
    providers = ours(scripted().url, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="half")
    assert providers.notes == ("OTEL_TRACES_SAMPLER_ARG='half' IS NOT IN FORCE; accepted: a ratio from 0 to 1",)
    assert providers.tracer_provider.get_tracer("t").start_span("one").is_recording()


def test_ids_are_of_the_generator_that_is_installed(scripted, ours, installed):
    providers = ours(scripted().url, OTEL_PYTHON_ID_GENERATOR="Mine")
    assert providers.tracer_provider.get_tracer("t").start_span("one").get_span_context().trace_id == 7


def test_an_exporter_whose_name_has_otlp_in_it_is_that_one(scripted, ours, installed):
    """Names are spelled as they were installed."""
    collector = scripted()
    providers = ours(collector.url, OTEL_TRACES_EXPORTER="My_otlp")
    spans(providers, "one")
    providers.shutdown(10)
    assert (providers.notes, collector.requests) == ((), [])


FRESH = """
import tradewatch
class Bot: pass
watch = tradewatch.instrument(Bot(), port=None)
print(watch.status().safety_alive)
"""


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "junk"), ("OTEL_PYTHON_TRACER_PROVIDER", "junk")]
)
def test_what_the_sdk_refuses_when_it_is_imported_does_not_stop_the_bot(collect, tmp_path, variable, value):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TRADEWATCH_"))}
    chosen = {"OTEL_EXPORTER_OTLP_ENDPOINT": collect().url, "TRADEWATCH_STATE_DIR": str(tmp_path), variable: value}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment | chosen, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert f"{variable}='junk' IS NOT IN FORCE" in done.stderr
