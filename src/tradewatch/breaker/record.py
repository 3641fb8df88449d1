"""What the breaker writes to the store's log, and what a start reads back from it."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from tradewatch.breaker.machine import Past, Unreadable
from tradewatch.breaker.unknown import UnknownOrder
from tradewatch.model import Acted, Channel, Halt, OrderKey, OrderRequest
from tradewatch.store import DAMAGED, Damaged, Store, StoreUnavailable, decode

STARTED = "breaker.started"
ENDED = "breaker.ended"
HALTED = "breaker.halted"
FURTHER = "breaker.further"
CONFIRMED = "breaker.confirmed"
RESUMED = "breaker.resumed"
ACTED = "breaker.acted"
ACTION = "breaker.action"
_LOOK = "Look at what stands there with sqlite3, or set another state folder."

T = TypeVar("T", bound=msgspec.Struct)


class Mark(msgspec.Struct, frozen=True):
    """Body of `breaker.started` and `breaker.ended`: the state at that moment. A start without an end was unclean."""

    state: str


class Halted(msgspec.Struct, frozen=True):
    """Body of `breaker.halted`: the halt, and the orders that had passed and were not answered."""

    halt: Halt
    in_flight: tuple[OrderRequest, ...]
    unknown: tuple[UnknownOrder, ...]


class Confirmed(msgspec.Struct, frozen=True):
    """Body of `breaker.confirmed`: the orders that may or may not be at the venue; every other one is answered."""

    unknown: tuple[UnknownOrder, ...]


class AlertsActed(msgspec.Struct, frozen=True):
    """Body of `breaker.acted`: the alerts that a halt is or was because of, until their conditions have been false."""

    alerts: tuple[Acted, ...]


class Action(msgspec.Struct, frozen=True):
    """Body of `breaker.action`, the audit: what was asked for, by whom, why, and what was before and after.

    Of `configure` these are the settings and rules that differ, else the state of the breaker; `before` is None where
    no state could be read. `refused` is why nothing was done where that is so.
    """

    asked: Literal["halt", "resume", "configure"]
    by: str
    channel: Channel
    reason: str
    before: str | None
    after: str
    refused: str | None = None


class Recalled(msgspec.Struct, frozen=True):
    """The past for the machine to decide on, and what stands beside it."""

    past: Past | Unreadable
    further: tuple[Halt, ...] = ()
    unknown: tuple[UnknownOrder, ...] = ()
    acted: tuple[Acted, ...] = ()


def halted(halt: Halt, in_flight: tuple[OrderRequest, ...], unknown: tuple[UnknownOrder, ...]) -> Halted:
    """Body of `breaker.halted` that is certain to be written and read back."""
    return Halted(halt, tuple(map(_plain_order, in_flight)), confirmed(unknown).unknown)


def confirmed(unknown: tuple[UnknownOrder, ...]) -> Confirmed:
    """Body of `breaker.confirmed` that is certain to be written and read back."""
    return Confirmed(tuple(msgspec.structs.replace(each, request=_plain_order(each.request)) for each in unknown))


def plain_text(value: object) -> str:
    """A text that UTF-8 can hold: half a surrogate pair, from an undecodable file name, it cannot."""
    return str(value).encode("utf-8", "replace").decode()


def one_line(value: object) -> str:
    """A text as one line that can be shown: without what moves a cursor, colours a terminal or begins another line.

    Whoever halts could otherwise write lines into an audit that nobody's action stands behind.
    """
    text = " ".join(plain_text(value).split())
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def _plain_order(order: OrderRequest) -> OrderRequest:
    """The order as the log will give it back. Bots pass what they like as a side, a type or a price.

    One field of the wrong type must not keep a halt from the disk, nor make it unreadable at the next start.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(order), type=OrderRequest, strict=False)
    except Exception:  # whatever lies in there may raise: what cannot be encoded, nests without end, is no UTF-8
        key = order.key
        names = OrderKey(
            plain_text(key.venue),
            plain_text(key.account),
            plain_text(key.symbol),
            None if key.order_id is None else plain_text(key.order_id),
            None if key.client_id is None else plain_text(key.client_id),
        )
        return OrderRequest(names, plain_text(order.operation), None, None, None, None)


def recall(store: Store | StoreUnavailable | None) -> Recalled:
    """Read the past from the log; whatever prevents that is a past too, but where no state can have been kept."""
    if isinstance(store, StoreUnavailable) and store.holds_state:
        return _unreadable(store)
    if not isinstance(store, Store):
        return Recalled(Past(None, None))
    try:
        return _recall(store)
    except StoreUnavailable as error:
        return _unreadable(error)
    except msgspec.MsgspecError as error:
        return Recalled(Unreadable(f"a row in {store.path} is not understood ({error})", _LOOK))


def _unreadable(error: StoreUnavailable) -> Recalled:
    return Recalled(Unreadable(f"{error.path}: {error.reason}", error.remedy))


def _recall(store: Store) -> Recalled:
    started, started_at = _last(store, STARTED, Mark)
    _, ended_at = _last(store, ENDED, Mark)
    damaged, damaged_at = _last(store, DAMAGED, Damaged)
    if damaged is not None and damaged_at > started_at:
        what = f"{store.path} was damaged ({damaged.reason}) and is kept as {damaged.moved_to}"
        return Recalled(Unreadable(what, "A new one has begun."))
    clean = None if started is None else ended_at > started_at
    listed, _ = _last(store, ACTED, AlertsActed)
    acted = () if listed is None else listed.alerts
    stop, halted_at = _last(store, HALTED, Halted)
    resumed, resumed_at = _last(store, RESUMED, Halt)
    if stop is None or resumed_at > halted_at:
        return Recalled(Past(resumed, clean), acted=acted)
    settled, settled_at = _last(store, CONFIRMED, Confirmed)
    if settled is not None and settled_at > halted_at:
        unknown = settled.unknown
    else:
        # Killed before every order was answered: nobody is left to hear the answer.
        unknown = stop.unknown + tuple(UnknownOrder(each, stop.halt.since_ns) for each in stop.in_flight)
    further = tuple(decode(event, Halt) for event in store.read((FURTHER,), after_seq=halted_at))
    return Recalled(Past(stop.halt, clean), further, unknown, acted)


def _last(store: Store, kind: str, body: type[T]) -> tuple[T | None, int]:
    event = store.last(kind)
    return (None, 0) if event is None else (decode(event, body), event.seq)
