"""What `make bench` prints and writes; the figures themselves are not asserted."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from benchmarks.figures import Outcome, alone, compared, plain, summary, table
from benchmarks.growth import medians, rise

ROOT = Path(__file__).parents[2]


def started(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


def test_one_measurement_as_a_table_and_as_json(tmp_path):
    file = tmp_path / "bench.json"
    running = started("--only", "metrics", "--quick", "--json", str(file))
    printed, errors = running.communicate(timeout=100)
    assert (running.returncode, errors) == (0, "")
    found = json.loads(file.read_text())
    assert set(found) == {"machine", "quick", "seconds", "measurements"}
    assert set(found["machine"]) == {"python", "system", "cores", "load", "versions"}
    (metrics,) = found["measurements"]
    assert (metrics["measurement"], metrics["failure"], found["quick"]) == ("metrics", None, True)
    assert [(each["what"], each["unit"], each["against"]) for each in metrics["figures"]] == [
        ("metrics a call, 1 call a fold, 1 reader", "µs", "record()"),
        ("metrics a call, 100 calls a fold, 1 reader", "µs", "record()"),
        ("metrics a call, 100 calls a fold, 3 readers", "µs", "record()"),
        ("scrape of 1,000 histograms, CPU", "ms", "PrometheusMetricReader"),
    ]
    for each in metrics["figures"]:
        assert each["ratio"] == pytest.approx(each["theirs"] / each["ours"])
        assert each["what"] in printed
    first, head, *_, last = printed.splitlines()
    assert first.startswith("Python 3.")
    assert "quick" in first
    assert head.split() == ["ours", "beside", "theirs", "ratio", "target"]
    assert last == "0 targets met, 0 missed, 0 unknown; 0 of 1 measurements failed"


def test_a_measurement_that_fails_says_why_and_is_no_success():
    # The SDK's instruments do nothing then, so that there is nothing to fold into.
    running = started("--only", "metrics", "--quick", OTEL_SDK_DISABLED="true")
    printed, _ = running.communicate(timeout=100)
    assert running.returncode == 1
    assert "  FAILED: ended with 1: " in printed
    assert printed.splitlines()[-1].endswith("1 of 1 measurements failed")


def marked(mark):
    """Processes that inherited a variable of that value."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (each / "environ").read_bytes():
                found.append(each.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process(sign):
    mark = uuid.uuid4().hex
    running = started("--only", "real", "--quick", MARK=mark)
    deadline = time.monotonic() + 60
    # Itself, the measurement, the venue and a collector at least.
    while len(marked(mark)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(marked(mark)) >= 4
    running.send_signal(sign)
    printed, errors = running.communicate(timeout=30)
    assert (running.returncode, printed, errors) == (130, "", "interrupted\n")
    assert marked(mark) == []


def test_an_unknown_measurement_is_refused_with_those_that_there_are():
    running = started("--only", "call,cold")
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "no measurement 'cold'; there are call, real, delivery, export, metrics, process, streams, halt" in errors


def test_verdicts_are_of_the_figure_or_of_the_ratio():
    figures = (
        alone("a", 0.9, "µs", at_most=0.6),
        alone("b", 400_000, "/s", at_least=300_000),
        compared("c", 1.0, "µs", "naive", 60.0, "below", at_least=60),
        compared("d", 104.0, "µs", "nothing", 100.0, "added", at_most=0.03),
        compared("e", 1.1, "ms", "nothing", 1.0, "times", at_most=1.2),
        compared("f", -0.1, "µs", "naive", 40.0, "below", at_least=60),
        compared("g", 30.0, "/s", "naive", 10.0, "above"),
    )
    assert [each.met for each in figures] == [False, True, True, False, True, None, None]
    outcomes = [Outcome("x", 1.0, figures), Outcome("y", 2.0, failure="ended with 1")]
    assert summary(outcomes) == "3 targets met, 2 missed, 1 unknown; 1 of 2 measurements failed"
    assert [each["met"] for each in plain(outcomes)[0]["figures"]] == [each.met for each in figures]
    assert table(outcomes).splitlines() == [
        "           ours  beside    theirs         ratio  target",
        "[x]",
        "  a     0.90 µs                                  ≤ 0.6 µs      MISSED",
        "  b  400,000 /s                                  ≥ 300,000 /s  met",
        "  c     1.00 µs  naive    60.0 µs  60.0 x below  ≥ 60 x        met",
        "  d      104 µs  nothing   100 µs         +4.0%  ≤ 3%          MISSED",
        "  e     1.10 ms  nothing  1.00 ms        1.10 x  ≤ 1.2 x       met",
        "  f    -0.10 µs  naive    40.0 µs             –  ≥ 60 x        unknown  lost in the noise",
        "  g     30.0 /s  naive    10.0 /s  3.00 x above",
        "[y]",
        "  FAILED: ended with 1",
    ]


def levels(of):
    """600 readings of memory as a soak takes them, one a second."""
    return medians([of(second) for second in range(600)], 10)


def test_the_line_through_a_leak_rises_by_what_leaks():
    # A sawtooth of 3 MB, and a spike now and then: neither is growth.
    def noise(second):
        return 130 + second % 60 / 20 + 40 * (second % 97 == 0)

    assert rise(levels(noise)[5:]) == pytest.approx(0, abs=0.1)
    assert rise(levels(lambda s: noise(s) + s * 0.01)[5:]) == pytest.approx(3, abs=0.1)
    # What was filled up in the first half is not held against the second.
    assert rise(levels(lambda s: noise(s) + min(s, 290) * 0.05)[5:]) == pytest.approx(0, abs=0.1)
    with pytest.raises(ValueError, match="3 readings do not fill 4"):
        medians([1, 2, 3], 4)


def soaked(*arguments):
    command = [sys.executable, "-m", "benchmarks.soak", "--seconds", "12", "--rate", "100", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    return done, {line[5:].partition(":")[0]: line[:4].strip() for line in done.stdout.splitlines()[-6:]}


def test_a_soak_finds_a_leak():
    # 8 MB a second, of which half a run is 48.
    done, verdicts = soaked("--leak", "8192")
    assert verdicts["memory does not run away, in a run too short to call it flat"] == "FAIL", done.stdout + done.stderr
    assert verdicts["every call was counted"] == "ok"
    assert done.returncode == 1
