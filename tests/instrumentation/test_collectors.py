"""Collectors that refuse, ask for patience, redirect, answer by halves or never: real sockets, our own providers.

What a collector does is never felt by who makes the spans; it is seen in what was dropped, and in a log line a minute.
"""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from scripted_collectors import lost, spans, warned


def test_what_is_sent_arrives_with_its_resource_headers_and_compression(scripted, ours):
    collector = scripted()
    providers = ours(
        collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    spans(providers, "one", "two", "order three")
    providers.shutdown(10)
    assert sorted(collector.names()) == ["one", "order three", "two"]
    assert {(h["content-encoding"], h["x-tenant"], h["content-type"]) for h in collector.headers} == {
        ("gzip", "blue", "application/x-protobuf")
    }
    sent = ExportTraceServiceRequest.FromString(collector.requests[0][2])
    resource = {a.key: a.value.string_value for a in sent.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("bot", "test")
    assert providers.dropped() == []


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_a_refusal_is_counted_and_the_next_batch_goes_out(scripted, ours, caplog, status):
    collector = scripted(status)
    providers = ours(collector.url)
    spans(providers, "order one", "error two", "three")
    [outbox] = providers.outboxes
    assert outbox.flush(10)
    spans(providers, "four")
    assert outbox.flush(10)
    refused = collector.names(status)
    assert sorted(refused + collector.names()) == ["error two", "four", "order one", "three"]
    counted = lost(providers)
    assert sum(counted.values()) == len(refused) > 0
    assert {reason for _, reason in counted} == {"refused"}
    assert warned(caplog) == [f"not all spans reach the collector: it answers {status}; status() counts"]


@pytest.mark.parametrize("script", [(503,), (502,), ("half",), ("drop", "drop"), ((429, {"Retry-After": "0"}, b""),)])
def test_what_could_not_be_taken_now_is_sent_again(scripted, ours, script):
    collector = scripted(*script)
    providers = ours(collector.url)
    spans(providers, "order one", "two")
    [outbox] = providers.outboxes
    assert outbox.flush(60)
    assert {"order one", "two"} <= set(collector.names())
    assert providers.dropped() == []


def test_a_collector_is_left_alone_for_as_long_as_it_asks(scripted, ours, caplog, until):
    """Longer than an export may take: upstream gives up, and ours waits, with what it has, until the end."""
    collector = scripted((429, {"Retry-After": "100"}, b""))
    providers = ours(collector.url)
    spans(providers, "order one")
    [outbox] = providers.outboxes
    until(lambda: not outbox.reachable)
    spans(providers, "two")
    assert not outbox.flush(0.3)
    assert len(collector.requests) == 1
    assert warned(caplog) == ["not all spans reach the collector: it answers 429; status() counts"]
    providers.shutdown(10)
    assert sorted(collector.names()) == ["order one", "two"]
    assert providers.dropped() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_success(scripted, ours, caplog, status):
    elsewhere = scripted()
    collector = scripted((status, {"Location": f"{elsewhere.url}/v1/traces"}, b""))
    providers = ours(collector.url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20abcdefghijk")
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert (len(collector.requests), elsewhere.requests) == (1, [])
    assert lost(providers) == {("other", "refused"): 1}
    assert warned(caplog) == [f"not all spans reach the collector: it answers {status} (a redirect); status() counts"]


@pytest.mark.parametrize("answer", [b"", b"\xff\xff not protobuf", b"{}"])
def test_an_answer_that_says_nothing_of_use_is_taken_for_its_status(scripted, ours, answer):
    collector = scripted((200, {}, answer))
    providers = ours(collector.url)
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert providers.dropped() == []


def test_what_a_content_collector_rejects_is_counted_and_said(scripted, ours, caplog):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old; apiKey=abcdef123"
    collector = scripted((200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString()))
    providers = ours(collector.url)
    spans(providers, "one", "two", "three")
    assert providers.outboxes[0].flush(10)
    assert lost(providers) == {("unknown", "rejected"): 2}
    [line] = warned(caplog)
    assert "2 were rejected: too old; apiKey=***" in line
