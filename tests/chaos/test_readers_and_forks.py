"""Readers that come and go, forks several levels deep, and workers, all while two threads call and cells are folded."""

import itertools
import multiprocessing
import os
import signal
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.fixture
def provider():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider, reader
    provider.shutdown()


@pytest.fixture
def client(blocking):
    class Own(blocking.ccxt.binance):
        def fetch_ticker(self, symbol, params={}):  # noqa: B006  as ccxt has it
            return {"symbol": symbol, "last": 1.0}

    return Own()


def told(reader):
    """How many calls a reader is told of."""
    return sum(
        point.count
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "trading.exchange.call.duration"
        for point in metric.data.data_points
    )


def descend(client, provider, depth):
    """Fork so many levels deep, with calls and a collection at each; whether every child came to its end."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            for _ in range(5):
                client.fetch_ticker("A")
            provider.force_flush(1_000)
            os._exit(0 if not depth or descend(client, provider, depth - 1) else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_nothing_is_lost_or_told_twice(client, provider, make_bot, watch_over, until):
    provider, reader = provider
    watch = watch_over(make_bot(client), meter_provider=provider)
    over, made = threading.Event(), itertools.count()

    def calls():
        while not over.wait(0.0001):
            client.fetch_ticker("A")
            next(made)

    def readers():
        while not over.wait(0.01):
            later = InMemoryMetricReader()
            provider.add_metric_reader(later)
            over.wait(0.01)
            later.get_metrics_data()
            provider.remove_metric_reader(later)

    threads = [threading.Thread(target=what) for what in (calls, calls, readers)]
    for thread in threads:
        thread.start()
    try:
        assert all(descend(client, provider, 3) for _ in range(5))
        workers = [multiprocessing.get_context("fork").Process(target=client.fetch_ticker, args=("A",)) for _ in "123"]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(20)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    expected = next(made)
    until(lambda: watch.status().operations[0].calls == expected)
    assert told(reader) == expected


def test_a_provider_that_is_shut_down_in_the_middle_costs_no_call(client, provider, make_bot, watch_over, until):
    provider, _ = provider
    watch = watch_over(make_bot(client), meter_provider=provider)
    for n in range(200):
        assert client.fetch_ticker("A")["last"] == 1.0
        if n == 100:
            provider.shutdown()
    until(lambda: watch.status().operations[0].calls == 200)
