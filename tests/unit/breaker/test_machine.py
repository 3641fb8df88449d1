"""The states and what moves between them, over values alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradewatch.breaker.machine import HaltAsked, Past, ResumeAsked, Unreadable, begin, decide, further
from tradewatch.model import Evidence, Halt

ACTIVE = Halt("ACTIVE", "tradewatch", "first start", (), 1)
LOSS = HaltAsked("DailyLoss", "daily loss 3.12 %, limit 3 %", (Evidence("loss", 0.0312, 5),), 5)
HALTED = Halt("HALTED", LOSS.by, LOSS.reason, LOSS.evidence, 5)
PERSON = ResumeAsked("anna", "looked at it", 9)

names = st.sampled_from(["DailyLoss", "OrderRate", "anna"])
halts = st.builds(HaltAsked, names, st.text(max_size=3), st.just(()), st.integers(0, 9))
resumes = st.builds(ResumeAsked, names, st.text(max_size=3), st.integers(0, 9))


def test_a_halt_carries_who_why_when_and_the_numbers():
    assert decide(ACTIVE, LOSS) == HALTED


def test_a_person_resumes():
    assert decide(HALTED, PERSON) == Halt("ACTIVE", "anna", "looked at it", (), 9)


def test_resuming_what_is_active_changes_nothing():
    assert decide(ACTIVE, PERSON) is ACTIVE


@given(st.lists(halts, min_size=1))
def test_the_first_halt_stands_whatever_is_asked_for_after_it(requests):
    state = HALTED
    for request in requests:
        state = decide(state, request)
    assert state is HALTED


@given(st.lists(st.one_of(halts, resumes)))
def test_the_state_follows_the_last_request_and_its_cause_the_first_since_the_state_began(requests):
    state = ACTIVE
    cause = None
    for request in requests:
        wanted = "HALTED" if isinstance(request, HaltAsked) else "ACTIVE"
        if wanted != state.state:
            cause = request
        state = decide(state, request)
        assert state.state == wanted
        if cause is not None:
            assert (state.by, state.reason, state.since_ns) == (cause.by, cause.reason, cause.at_ns)


@given(st.lists(halts, max_size=300))
def test_further_halts_are_noted_once_for_each_who_asks(requests):
    noted: tuple[Halt, ...] = ()
    for request in requests:
        new = further(HALTED, noted, request)
        noted += () if new is None else (new,)
    assert [each.by for each in noted] == list(dict.fromkeys(r.by for r in requests if r.by != "DailyLoss"))


def test_the_list_of_further_halts_is_bounded():
    noted: tuple[Halt, ...] = ()
    for n in range(200):
        new = further(HALTED, noted, HaltAsked(f"rule{n}", "", (), n))
        noted += () if new is None else (new,)
    assert [each.by for each in noted] == [f"rule{n}" for n in range(50)]


@given(st.sampled_from([None, True, False]), st.sampled_from(["DailyLoss", "anna", "tradewatch"]))
def test_a_halt_survives_every_kind_of_end_whoever_set_it(ended_clean, by):
    halt = Halt("HALTED", by, "why", (), 3)
    assert begin(Past(halt, ended_clean), 100).halt is halt


def test_a_clean_state_after_a_clean_end_is_active_and_needs_no_note():
    beginning = begin(Past(Halt("ACTIVE", "anna", "resumed", (), 3), True), 100)
    assert beginning.halt == Halt("ACTIVE", "tradewatch", "start after a clean end", (), 100)
    assert beginning.note is None


def test_an_unclean_end_while_active_starts_active_and_is_said():
    beginning = begin(Past(None, False), 100)
    assert beginning.halt.state == "ACTIVE"
    assert beginning.note == (
        "the last run ended without closing (killed, crashed or power lost): orders of it may still be open"
    )


def test_a_state_that_cannot_be_read_starts_halted_and_says_what_to_do():
    beginning = begin(Unreadable("the file is damaged", "It is kept."), 100)
    assert beginning.halt == Halt(
        "HALTED",
        "tradewatch",
        "the state of the last run cannot be read: the file is damaged. It is kept. "
        "Look at the account's open orders and positions, then resume.",
        (),
        100,
    )
