"""Headers of what is exported, from a setting: a collector sees them, and nobody else does."""

import msgspec
import pytest

import tradewatch
from tradewatch.runtime.scrub import scrubber

TOKEN = "glc_tw7QmZk2PdV5sX8b"


@pytest.mark.parametrize("where", ["file", "variable"])
def test_headers_of_a_setting_take_the_place_of_the_variables(
    blocking, venue, scripted, make_bot, tmp_path, monkeypatch, where
):
    monkeypatch.setattr(scrubber, "_secrets", ())
    collector = scripted()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-from=variable")
    if where == "file":
        secret = tmp_path / "otlp"
        secret.write_text(f"authorization=Bearer%20{TOKEN},x-from=setting\n")
        secret.chmod(0o600)
        monkeypatch.setenv("TRADEWATCH_OTLP_HEADERS_FILE", str(secret))
    else:
        monkeypatch.setenv("TRADEWATCH_OTLP_HEADERS", f"authorization=Bearer {TOKEN}, x-from=setting")
    client = blocking.client(venue())
    with tradewatch.instrument(make_bot(client), name="grid", port=None, state_dir=tmp_path / "state") as watch:
        client.fetch_ticker("BTC/USDT")
        status = msgspec.json.encode(watch.status()).decode()
    assert {path for path, _, _ in collector.requests} == {"/v1/traces", "/v1/metrics"}
    assert {(h["authorization"], h["x-from"]) for h in collector.headers} == {(f"Bearer {TOKEN}", "setting")}
    assert TOKEN not in status
    assert '"otlp_headers"' in status
