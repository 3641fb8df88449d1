"""Forks while an application's own reader collects and exports: no child waits for a lock that nobody will free."""

import textwrap

import pytest

SYMBOL = "BTC/USDT"
HEAD = """
import faulthandler, signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside threads
import logging
logging.disable()  # a reader this busy runs into its own time-outs; what is logged would fill the pipe
import ccxt, tradewatch
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader, MetricExporter, MetricExportResult, PeriodicExportingMetricReader)

def forked(work):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # what hangs ends by this, and says where
        faulthandler.dump_traceback_later(20)
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

class Export(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        time.sleep(EXPORTING)
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass

def observed(options):
    time.sleep(COLLECTING)
    return [Observation(1)]

reader, other = PeriodicExportingMetricReader(Export(), export_interval_millis=50), InMemoryMetricReader()
meters = MeterProvider([reader, other], shutdown_on_exit=False)
meter = meters.get_meter("bot")
meter.create_observable_gauge("slow", [observed])
rounds, lasts = meter.create_counter("rounds"), meter.create_histogram("lasts")
watch = tradewatch.instrument(bot, state_dir=state, port=None, meter_provider=meters)
ending = threading.Event()

def busy():
    n = 0
    while not ending.is_set():
        n += 1
        rounds.add(1, {"n": n % 50})
        lasts.record(n, {"n": n % 50})

def trade():
    try:
        bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
    except ccxt.InvalidOrder as error:
        return "halted" in str(error)

def child():
    global COLLECTING, EXPORTING
    COLLECTING = EXPORTING = 0
    watch.halt("in the child")
    assert trade()
    for n in range(50):
        rounds.add(1, {"n": n})
        lasts.record(n, {"n": n})
    assert any(m.name == "rounds" for r in other.get_metrics_data().resource_metrics
               for s in r.scope_metrics for m in s.metrics)
    reader.force_flush()
    meters.shutdown()

threads = [threading.Thread(target=busy) for _ in range(2)]
for each in threads:
    each.start()
try:
    codes = []
    for _ in range(FORKS):
        time.sleep(0.01)
        codes.append(ended(forked(child)))
        if codes[-1] != 0:
            break
finally:
    ending.set()
    for each in threads:
        each.join()
say(codes=sorted(set(codes)), state=watch.status().breaker.state, failures=watch.status().failures)
"""


@pytest.mark.parametrize(
    ("collecting", "exporting"), [(0.1, 0), (0, 0.1), (0, 0)], ids=["collection", "export", "either"]
)
def test_a_child_of_a_process_whose_reader_is_busy_does_not_hang(venue, run, collecting, exporting):
    place = venue()
    body = f"COLLECTING, EXPORTING, FORKS = {collecting}, {exporting}, {30 if collecting or exporting else 80}\n"
    process = run(body + textwrap.dedent(HEAD), place.url, watched=False)
    said = process.heard()
    assert said == {"codes": [0], "state": "ACTIVE", "failures": {}}, process.communicate()[1]
    assert (process.wait(30), process.stderr.read()) == (0, "")
