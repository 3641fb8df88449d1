"""Samples, expressions and times with Prometheus's values."""

import random
import struct

from oracle import ask, write

STALE = "7ff0000000000002"
START_MS = 1_700_000_000_000

QUERIES = (
    "1 + 2 * 3 ^ 2 - 7 % 4 / 0",
    "-time()",
    "time() % 60",
    "1 == bool 2",
    "2 > bool 1",
    "-2 ^ 0.5",
    "0 / 0",
    "-1 / 0",
    "5 % 0",
    "-5 % 3",
    "5.5 % -2",
    "Inf % 2",
    "2 ^ 1023 * 2",
    "(-8) ^ 3",
    "(-8) ^ -3",
    "2 ^ -1074",
    "1.1 ^ 100",
    "0.9 ^ -1000",
    "(-1) ^ 1e300",
    "0 ^ -1",
    "(-0) ^ -3",
    "NaN ^ 0",
    "1 ^ NaN",
    "Inf ^ -1",
    "(-Inf) ^ 3",
    "4 ^ 0.5",
    "4 ^ -0.5",
    "3.7 ^ 17",
    '"text"',
    '("text")',
    "c_total",
    "-c_total",
    "+c_total",
    "-{__name__='g'}",
    "g{job='bot'}",
    "g{job!='bot'}",
    "g{job=~'b.*|x'}",
    "g{job!~'b.*'}",
    "g{zone=''}",
    "g{zone!=''}",
    "g{zone=~'|z'}",
    "g offset 1m",
    "g offset -30s",
    "g offset 5m",
    "g offset 299999ms",
    "missing",
    "g == g",
    "g != g",
    "g > 0",
    "0 < g",
    "g > bool 0",
    "0 < bool g",
    "g * 2",
    "2 - g",
    "g / 0",
    "g % 3",
    "g ^ 2",
    "3 ^ floor(g)",
    "g + g",
    "g - c_total",
    "g > c_total",
    "g > bool c_total",
    "g >= on(job, instance) c_total",
    "g == on(job, instance) g",
    "g + on(job) one",
    "g + on(job) group_left one",
    "g + on(job) group_left(zone) one",
    "g * on(job) group_left(zone, instance) one",
    "g > on(job) group_left one",
    "g > bool on(job) group_left(zone) one",
    "one / on(job) group_right g",
    "one < on(job) group_right(zone) g",
    "one + on(job) group_right(__name__) g",
    "g + ignoring(instance, zone) group_left one",
    "g + ignoring(instance, zone) one",
    "one + ignoring(instance, zone) g",
    "(g{instance='i1'} or on(zone) c_total{instance='i1'}) > ignoring(instance, zone) one",
    "(g{instance='i1'} or on(zone) c_total{instance='i1'}) >= bool ignoring(instance, zone) group_left one",
    "g + on(zone) one",
    "one + on(zone) g",
    "g + on() one",
    "one + on() group_right g",
    "g + on(job, instance, __name__) g",
    "g > on(job, instance, __name__) g",
    "one + on(job) one",
    "g and c_total",
    "g and on(job) one",
    "g and on(zone) one",
    "g and on() one",
    "g or c_total",
    "c_total or g",
    "g or on(job) c_total",
    "g or ignoring(instance) c_total",
    "g unless c_total",
    "g unless on(job, instance) c_total",
    "g unless on(zone) one",
    "missing or g",
    "g or missing",
    "g and missing",
    "g unless missing",
    "missing + g",
    "missing + on(job) g",
    "missing unless g",
    "sum(g)",
    "sum by (job) (g)",
    "sum by (job, zone) (g)",
    "sum by (nope) (g)",
    "sum by (__name__) ({__name__='g'})",
    "sum without (instance) (g)",
    "sum without (job, instance, zone) (g)",
    "sum without () (g)",
    "min(g)",
    "max(g)",
    "min by (job) (g)",
    "max by (job) (g)",
    "avg(g)",
    "avg by (job) (g)",
    "count(g)",
    "count by (job) (g)",
    "group(g)",
    "sum(missing)",
    "count(missing)",
    "avg(huge)",
    "sum(huge)",
    "avg(huge * 0 + 1e308)",
    "sum(mixed)",
    "avg(mixed)",
    "min(mixed)",
    "max(mixed)",
    "count(mixed)",
    "sum(tiny)",
    "avg(tiny)",
    "sum(sum by (job) (g)) / count(g)",
    "scalar(g)",
    "scalar(one)",
    "scalar(missing)",
    "vector(3)",
    "vector(time())",
    "abs(-g)",
    "ceil(g)",
    "floor(g)",
    "ceil(-g / 10)",
    "sgn(g - 5)",
    "sqrt(g)",
    "round(g / 3)",
    "round(g, 0.1)",
    "round(g, 0)",
    "round(-g, 5)",
    "clamp(g, 2, 5)",
    "clamp(g, 5, 2)",
    "clamp(mixed, -1, 1)",
    "clamp_min(mixed, 0)",
    "clamp_max(mixed, 0)",
    "clamp_min(mixed, NaN)",
    "clamp_max(mixed, Inf)",
    "clamp(g, NaN, 3)",
    "abs({__name__='g'})",
    "absent(g)",
    "absent(missing)",
    "absent(missing{a='b', c='d', e=~'f', c='x', g!='h', i=''})",
    "absent(missing{a='b', a='b'})",
    "absent((missing{a='b'}))",
    "absent(sum(missing{a='b'}))",
    "absent(missing + g)",
    "absent_over_time(g[1m])",
    "absent_over_time(missing{a='b'}[1m])",
    "absent_over_time(g{job='nope'}[5m])",
    "hour()",
    "minute(vector(1700000000))",
    "day_of_week(vector(-1))",
    "day_of_month(vector(951782400))",
    "day_of_year(vector(951868800))",
    "month(vector(1e9)) + year(vector(1e9))",
    "hour(g)",
    "rate(g[5m]) == increase(g[5m]) / 300",
    "sum(rate(c_total[1m])) by (job) > 0.5",
    "sum by (job) (rate(c_total[2m])) / on(job) group_left() one",
    "rate(c_total[1m]) > on(job, instance) group_left() rate(c_total[5m])",
    "increase(c_total[1m]) > 3 and on(job) one == 1",
    "g{job='bot'} > on(job, instance) group_left() limit",
    "max_over_time(g[5m]) - min_over_time(g[5m])",
    "clash + 1",
    "-clash",
    "abs(clash)",
    "rate(clash[5m])",
    "last_over_time(clash[5m])",
    "clash > 1",
    "clash > bool 1",
    "typed * 1",
    "sum without (job) (typed)",
)
RANGE_CALLS = (
    "rate",
    "increase",
    "delta",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "changes",
    "resets",
    "absent_over_time",
)
RANGES = ("15s", "1m", "2m", "5m", "1m offset 30s", "150s offset -30s", "10m", "0.001", "7")
RANGED = ("c_total", "g", "mixed", "huge", "tiny", "steep")


def hexed(value):
    return value if isinstance(value, str) else struct.pack(">d", value).hex()


def world(seed):
    """Series with counters and their resets, gaps, staleness markers, NaN and infinities, on grids of their own."""
    chance = random.Random(seed)
    series = []

    def add(name, values, step_s, jitter_ms=0, **labels):
        times = [
            START_MS + int(i * step_s * 1000) + (chance.randrange(jitter_ms) if jitter_ms else 0)
            for i in range(len(values))
        ]
        kept = [(at, hexed(value)) for at, value in zip(times, values, strict=True) if value is not None]
        series.append(
            {
                "labels": {"__name__": name, **labels},
                "times": [at for at, _ in kept],
                "values": [value for _, value in kept],
            }
        )

    def counter(n, resets, gap, whole):
        total, values = chance.choice((0.0, 0.0, 3.0, 1000.0)), []
        for _ in range(n):
            if chance.random() < resets:
                total = 0.0
            total += chance.randrange(0, 7) if whole else chance.random() * 3
            values.append(None if chance.random() < gap else STALE if chance.random() < gap / 3 else total)
        return values

    for index in range(5):
        job = "bot" if index < 3 else "feed"
        labels = {"job": job, "instance": f"i{index}"}
        step = chance.choice((5, 10, 15, 30))
        n = 600 // step
        add("c_total", counter(n, 0.05, 0.05 * (index % 3), index % 2), step, 300 * (index % 2), **labels)
        values = [round(chance.gauss(5, 4), chance.choice((1, 3, 17))) for _ in range(n)]
        zone = {"zone": "z"} if index % 2 else {}
        add("g", values if index != 2 else [*values[: n // 2], STALE], step, **labels, **zone)
        add(
            "mixed",
            [chance.choice((1.5, -2.0, 0.0, -0.0, float("nan"), float("inf"), float("-inf"), STALE)) for _ in range(n)],
            step,
            **labels,
        )
        add("tiny", [chance.choice((1e-9, 1e17, -1e17, 0.1, 1.0, 3.3)) for _ in range(n)], step, **labels)
        add("huge", [chance.choice((1e308, 1.7e308, -1e308, 1e300)) for _ in range(n)], step, **labels)
        add("steep", [float(i**3 if index % 2 else 10 - i % 11) for i in range(n)], step, **labels)
    add("one", [1.0] * 40, 15, job="bot", zone="y", instance="one")
    add("one", [2.0] * 40, 15, job="feed", instance="one")
    add("limit", [4.0] * 40, 15, job="bot", instance="i0", limit="notional")
    add("clash", [2.0] * 40, 15, job="bot", __type__="counter")
    add("clash", [3.0] * 40, 15, job="bot", __type__="gauge")
    add("typed", [2.0] * 40, 15, job="bot", __type__="counter", __unit__="s")
    return series


def scraped_world(seed):
    """Series of one target, which come and go: all times are those of its scrapes, missing samples are marked."""
    chance = random.Random(seed)
    step_ms = chance.choice((1000, 5000, 15000))
    ticks = [START_MS + i * step_ms for i in range(600_000 // step_ms)]
    series = []
    for name, count in (("c_total", 8), ("g", 8), ("mixed", 4), ("steep", 6), ("tiny", 4), ("huge", 3)):
        for index in range(count):
            labels = {"__name__": name, "job": "bot" if index % 3 else "feed", "instance": f"i{index}"}
            if index % 2:
                labels["zone"] = "z"
            alive, total, times, values = chance.random() < 0.8, 0.0, [], []
            for at_ms in ticks:
                was, alive = alive, alive if chance.random() < 0.985 else not alive
                total = 0.0 if chance.random() < 0.02 else total + chance.random() * 3
                special = chance.choice((1e17, -1e17, 0.1, 3.3, float("nan"), 1e308, -0.0, 1.7e308))
                value = {
                    "c_total": total,
                    "steep": -total if index % 2 else total**3,
                    "g": round(chance.gauss(5, 4), 3),
                }
                if alive:
                    times.append(at_ms)
                    values.append(hexed(value.get(name, special)))
                elif was and times:
                    times.append(at_ms)
                    values.append(STALE)
            series.append({"labels": labels, "times": times, "values": values})
    for job in ("bot", "feed"):
        series.append({"labels": {"__name__": "one", "job": job}, "times": ticks, "values": [hexed(1.0)] * len(ticks)})
    return series


def range_calls(chance):
    """Calls of every range function on every metric, over some of the ranges."""
    for call in RANGE_CALLS:
        for name in RANGED:
            for span in chance.sample(RANGES, 4):
                length, _, offset = span.partition(" ")
                yield f"{call}({name}[{length}] {offset})" if offset else f"{call}({name}[{length}])"


def questions():
    """What is evaluated over which samples when."""
    cases = []
    for seed in range(12):
        chance = random.Random(seed + 100)
        moments = [START_MS - 1000, START_MS, START_MS + 300_000, START_MS + 899_000]
        moments += [START_MS + chance.randrange(0, 900_000) for _ in range(4)]
        texts = list(QUERIES) if seed < 2 else [text for text in QUERIES if not text[0].isdigit()]
        texts += range_calls(chance)
        queries = [
            {"text": text, "at_ms": at}
            for text in texts
            for at in (chance.sample(moments, 2) if seed else moments[1:4])
        ]
        scraped = seed >= 6
        cases.append(
            {"scraped": scraped, "series": scraped_world(seed) if scraped else world(seed), "queries": queries}
        )
    return cases


def record_values():
    """`data/values.json.gz`: samples, queries and Prometheus's values."""
    cases = questions()
    write("values.json.gz", list(zip(cases, ask("eval", cases), strict=True)))
