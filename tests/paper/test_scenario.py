import pytest

from tradewatch.paper import venues
from tradewatch.paper.faults import Fault, Latency, Match, Rule
from tradewatch.paper.scenario import ScenarioError, load_scenario, read_scenario

OPERATIONS = ", ".join(venues.OPERATIONS)


def test_a_whole_scenario(tmp_path):
    file = tmp_path / "faults.yaml"
    file.write_text("""\
rules:
  - match: {operation: order_place, nth: 2}
    fault: {kind: timeout, hold_s: 5}
  - match: {method: GET, path: /api/v3/depth, every: 3}
    fault: {kind: latency, ms: {uniform: [50, 300]}, at: answer}
  - match: {probability: 0.1, from: 2023-03-03T01:00Z, until: 2023-03-03 02:00:00+01:00}
    fault: {kind: server_error, status: 502, code: -1001, at: answer}
  - match: {nth: [1, 4]}
    fault: {kind: rate_limit, retry_after_s: 30}
  - match: {}
    fault: {kind: latency, ms: 20}
  - match: {channel: executions, every: 2}
    fault: {kind: late, ms: {exponential: 40}}
  - match: {}
    fault: {kind: silence, hold_s: 3}
  - match: {operation: add_order, method: WS}
    fault: {kind: server_error, code: "EService:Busy"}
""")
    assert load_scenario(file) == (
        Rule(Match(operation="order_place", nth=(2,)), Fault("timeout", at="answer", hold_s=5)),
        Rule(
            Match(method="GET", path="/api/v3/depth", every=3),
            Fault("latency", at="answer", latency=Latency("uniform", 50.0, 300.0)),
        ),
        Rule(
            Match(probability=0.1, from_ns=1677805200 * 10**9, until_ns=1677805200 * 10**9),
            Fault("server_error", at="answer", status=502, code=-1001),
        ),
        Rule(Match(nth=(1, 4)), Fault("rate_limit", retry_after_s=30)),
        Rule(Match(), Fault("latency", latency=Latency("fixed", 20.0))),
        Rule(Match(channel="executions", every=2), Fault("late", latency=Latency("exponential", 40.0))),
        Rule(Match(), Fault("silence", hold_s=3)),
        Rule(Match(operation="add_order", method="WS"), Fault("server_error", code="EService:Busy")),
    )


def one(match="{}", fault="{kind: ban}"):
    return f"rules:\n  - match: {match}\n    fault: {fault}\n"


MS = (
    "milliseconds from 0, or one of {uniform: [LEAST, MOST]}, {normal: [MEAN, DEVIATION]}, {exponential: MEAN}, "
    "{pareto: [LEAST, TAIL]}"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f:1: accepted is a mapping with the key rules"),
        ("[]", "f:1: accepted is a mapping with the key rules"),
        ("rule: []", "f:1: rule: unknown key; accepted are rules"),
        ("{}", "f:1: rules: is missing"),
        ("rules: 3", "f:1: rules: 3 is not accepted; accepted is a list of rules, each with match and fault"),
        ("rules:\n- 3", "f:1: rules: entry 1 is not a mapping with match and fault"),
        ("rules:\n- match: {}", "f:2: fault: is missing"),
        ("rules:\n- match: 3\n  fault: {}", "f:2: match: 3 is not accepted; accepted is a mapping"),
        ("rules:\n- {match: {}, fault: {}, fault: {}}", "f:2: fault: is there twice; accepted is once"),
        ("rules: [", "f:1: not YAML: expected the node content, but found '<stream end>'"),
        ("rules: !!python/object:os.system {}",
         "f:1: not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'"),
        (one("{operation: buy}"), f"f:2: operation: 'buy' is not accepted; accepted is {OPERATIONS}"),
        (one("{operation: [x]}"), f"f:2: operation: ['x'] is not accepted; accepted is {OPERATIONS}"),
        (one("{opperation: time}"),
         "f:2: opperation: unknown key; accepted are operation, method, path, channel, nth, every, "
         "probability, from, until"),
        (one("{method: get}"), "f:2: method: 'get' is not accepted; accepted is GET, POST, PUT, DELETE, WS"),
        (one("{path: api}"), "f:2: path: 'api' is not accepted; accepted is a path"),
        (one("{nth: 0}"), "f:2: nth: 0 is not accepted; accepted is a whole number from 1, or a list of them"),
        (one("{nth: [1, true]}"),
         "f:2: nth: [1, True] is not accepted; accepted is a whole number from 1, or a list of them"),
        (one("{every: 1.5}"), "f:2: every: 1.5 is not accepted; accepted is a whole number from 1"),
        (one("{probability: 2}"), "f:2: probability: 2 is not accepted; accepted is a number from 0 to 1"),
        (one("{probability: .nan}"), "f:2: probability: nan is not accepted; accepted is a number from 0 to 1"),
        (one("{from: noon}"),
         "f:2: from: 'noon' is not accepted; accepted is a simulated time such as 2023-03-03T01:00Z"),
        (one("{until: 2023-03-03}"),
         "f:2: until: '2023-03-03' is not accepted; accepted is a simulated time such as 2023-03-03T01:00Z"),
        (one(fault="{}"), "f:3: kind: is missing"),
        (one(fault="{kind: crash}"),
         "f:3: kind: 'crash' is not accepted; accepted is latency, clock_skew, false_tick, rate_limit, ban, nonce, "
         "maintenance, server_error, timeout, reset, half_json, drop, silence, lose, repeat, late, reorder, price_gap, "
         "thin_book"),
        (one("{channel: book}"),
         "f:2: channel: is not of the fault ban; accepted are operation, method, path, nth, every, probability, "
         "from, until"),
        (one("{method: GET}", "{kind: drop}"),
         "f:2: method: is not of the fault drop; accepted are path, channel, nth, every, probability, from, until"),
        (one("{nth: 1}", "{kind: price_gap, factor: 0.9}"),
         "f:2: nth: is not of the fault price_gap; accepted are from, until"),
        (one("{}", "{kind: price_gap, factor: 0.9}"), "f:2: from: is missing; a price gap needs its instant"),
        (one("{}", "{kind: thin_book, depth: 1}"), "f:2: from: is missing; a thin book needs its instant"),
        (one("{from: 2023-03-03T01:00Z}", "{kind: thin_book, depth: 0}"),
         "f:3: depth: 0 is not accepted; accepted is an amount of base at each level, such as 0.05"),
        (one("{channel: book}", "{kind: false_tick, factor: 2}"),
         "f:2: channel: 'book' is not accepted; accepted is quote for false ticks on streams, or none for those in "
         "answers"),
        (one(fault="{kind: false_tick}"),
         "f:3: factor: nothing is not accepted; accepted is a number from 0.000001, such as 0.93 for 7 % below"),
        (one(fault="{kind: clock_skew, ms: 0.5}"),
         "f:3: ms: 0.5 is not accepted; accepted is milliseconds, also below 0"),
        (one(fault="{kind: latency, ms: {pareto: [0, 1]}}"),
         f"f:3: ms: {{'pareto': [0, 1]}} is not accepted; accepted is {MS}"),
        (one(fault="{kind: ban, ms: 3}"), "f:3: ms: unknown key; accepted are kind, retry_after_s"),
        (one(fault="{kind: latency}"), f"f:3: ms: nothing is not accepted; accepted is {MS}"),
        (one(fault="{kind: latency, ms: -1}"), f"f:3: ms: -1 is not accepted; accepted is {MS}"),
        (one(fault="{kind: latency, ms: {gauss: 3}}"), f"f:3: ms: {{'gauss': 3}} is not accepted; accepted is {MS}"),
        (one(fault="{kind: latency, ms: {uniform: [3, 1]}}"),
         f"f:3: ms: {{'uniform': [3, 1]}} is not accepted; accepted is {MS}"),
        (one(fault="{kind: latency, ms: {exponential: 0}}"),
         f"f:3: ms: {{'exponential': 0}} is not accepted; accepted is {MS}"),
        (one(fault="{kind: server_error, status: 404}"), "f:3: status: 404 is not accepted; accepted is 500 to 599"),
        (one(fault="{kind: server_error, code: 3}"),
         "f:3: code: 3 is not accepted; accepted is a code such as -1001 or EService:Busy"),
        (one(fault="{kind: server_error, at: end}"), "f:3: at: 'end' is not accepted; accepted is arrival, answer"),
        (one(fault="{kind: ban, retry_after_s: 1.5}"),
         "f:3: retry_after_s: 1.5 is not accepted; accepted is a whole number of seconds"),
        (one(fault="{kind: timeout, hold_s: 0}"),
         "f:3: hold_s: 0 is not accepted; accepted is a number of seconds above 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_line_key_and_what_is_accepted(text, message):
    with pytest.raises(ScenarioError) as error:
        read_scenario(text, "f")
    assert str(error.value) == message


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"none\.yaml: cannot read the scenario"):
        load_scenario(tmp_path / "none.yaml")
