"""The evaluator against Prometheus's engine: every value bit by bit, every label, the order, every error."""

import gzip
import json
import struct
from collections import Counter
from pathlib import Path

import pytest

from tradewatch.promql import EvaluationError, SeriesStore, check, evaluate, parse

CASES = json.loads(gzip.decompress((Path(__file__).parent / "data" / "values.json.gz").read_bytes()))


def bits(value):
    return struct.pack(">d", value).hex() if value == value else "nan"


def normal_bits(recorded):
    return bits(struct.unpack(">d", bytes.fromhex(recorded))[0])


def store_of(series):
    """Each series a source of its own, since each has its own times."""
    store = SeriesStore(retention_s=3600)
    for index, one in enumerate(series):
        labels = tuple(sorted(one["labels"].items()))
        for at_ms, value in zip(one["times"], one["values"], strict=True):
            store.append(at_ms, [(labels, struct.unpack(">d", bytes.fromhex(value))[0])], source=str(index))
    return store


def scraped_store_of(series):
    """All series from one source, a scrape at each time; what is marked as stale is missing from the scrape."""
    store = SeriesStore(retention_s=3600)
    scrapes = {}
    for one in series:
        labels = tuple(sorted(one["labels"].items()))
        for at_ms, value in zip(one["times"], one["values"], strict=True):
            present = scrapes.setdefault(at_ms, [])
            if value != "7ff0000000000002":
                present.append((labels, struct.unpack(">d", bytes.fromhex(value))[0]))
    for at_ms in sorted(scrapes):
        store.append(at_ms, scrapes[at_ms])
    return store


def answer(store, text, at_ms):
    expr = parse(text)
    check(expr, text)
    try:
        value = evaluate(expr, store, at_ms)
    except EvaluationError as error:
        return {"error": str(error)}
    if isinstance(value, str):
        return {"string": value}
    if isinstance(value, float):
        return bits(value)
    return [[dict(labels), bits(element)] for labels, element in value]


def expected(recorded):
    if isinstance(recorded, str):
        return normal_bits(recorded)
    if isinstance(recorded, list):
        return [[labels, normal_bits(value)] for labels, value in recorded]
    return recorded


@pytest.mark.parametrize("case", range(len(CASES)))
def test_values_are_prometheus_s_to_the_last_bit(case):
    (question, recorded) = CASES[case]
    store = (scraped_store_of if question["scraped"] else store_of)(question["series"])
    differences = Counter()
    first = ""
    for query, want in zip(question["queries"], recorded, strict=True):
        got = answer(store, query["text"], query["at_ms"])
        if got != expected(want):
            differences[query["text"]] += 1
            first = first or f"{query['text']} @ {query['at_ms']}\n got {got}\nwant {expected(want)}"
    assert not differences, f"{sum(differences.values())} of {len(recorded)}: {differences.most_common(20)}\n{first}"
