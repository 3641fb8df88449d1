"""Reading of Kraken's parameters: texts over REST, JSON values over the websocket, both brought to REST's names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import get_args

from tradewatch.paper import units
from tradewatch.paper.kraken.errors import KrakenError, invalid
from tradewatch.paper.kraken.names import Names, Pair
from tradewatch.paper.orders import NewOrder, OrderType, SelfTrade, TimeInForce

Params = Mapping[str, object]
MAX_CLIENT_ID = 36
_SELF_TRADE: Mapping[str, SelfTrade] = {
    "cancel-newest": "EXPIRE_TAKER",
    "cancel-oldest": "EXPIRE_MAKER",
    "cancel-both": "EXPIRE_BOTH",
}
_FLAGS = ("post", "fcib", "fciq", "nompp", "viqc")
_REST_NAMES = {
    "order_type": "ordertype",
    "side": "type",
    "order_qty": "volume",
    "symbol": "pair",
    "limit_price": "price",
    "order_userref": "userref",
    "cl_ord_id": "cl_ord_id",
    "validate": "validate",
    "deadline": "deadline",
}


def text_of(params: Params, name: str) -> str:
    """A parameter as text; empty when it was not sent."""
    value = params.get(name)
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def required(params: Params, name: str) -> str:
    """A parameter that must be there."""
    text = text_of(params, name)
    if not text:
        raise invalid(name)
    return text


def amount(params: Params, name: str) -> int | None:
    """A decimal above zero in units of 10^-8; None when it was not sent."""
    text = text_of(params, name)
    if not text:
        return None
    try:
        value = units.parse(text)
    except ValueError:
        raise invalid(name) from None
    if value <= 0:
        raise invalid(name)
    return value


def whole(params: Params, name: str) -> int | None:
    """A whole number, possibly below zero; None when it was not sent."""
    text = text_of(params, name)
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise invalid(name)
    return int(text)


def seconds_ns(params: Params, name: str) -> int | None:
    """A time in seconds, possibly with a fraction, as nanoseconds; None when it was not sent or is 0."""
    text = text_of(params, name)
    try:
        return units.parse(text) * 10 if text and text != "0" else None
    except ValueError:
        raise invalid(name) from None


def flag(params: Params, name: str) -> bool:
    """A boolean; false when it was not sent."""
    return text_of(params, name).lower() in ("true", "1")


def names_list(params: Params, name: str) -> list[str]:
    """A text with commas or a JSON list, as a list; empty when it was not sent."""
    value = params.get(name)
    if isinstance(value, list):
        return [str(one) for one in value]
    return [part.strip() for part in text_of(params, name).split(",") if part.strip()]


def from_websocket(params: Params) -> dict[str, object]:
    """The parameters of `add_order` or `edit_order` under REST's names."""
    found: dict[str, object] = {
        rest: params[name] for name, rest in _REST_NAMES.items() if params.get(name) is not None
    }
    flags = []
    if flag(params, "post_only"):
        flags.append("post")
    preference = text_of(params, "fee_preference")
    if preference:
        flags.append({"base": "fcib", "quote": "fciq"}.get(preference, preference))
    if params.get("cash_order_qty") is not None:
        flags.append("viqc")
        found["volume"] = params["cash_order_qty"]
    if flags:
        found["oflags"] = ",".join(flags)
    if params.get("time_in_force") is not None:
        found["timeinforce"] = text_of(params, "time_in_force").upper()
    if params.get("stp_type") is not None:
        found["stptype"] = text_of(params, "stp_type").replace("_", "-")
    if params.get("expire_time") is not None:
        try:
            found["expiretm"] = str(round(datetime.fromisoformat(text_of(params, "expire_time")).timestamp()))
        except ValueError:
            raise invalid("expire_time") from None
    return found


def check_deadline(params: Params, wall_ns: int) -> None:
    """Refuse a request whose `deadline` (RFC 3339, real time) has passed.

    Raises:
        KrakenError: EService:Deadline elapsed, or EGeneral:Invalid arguments:deadline.
    """
    text = text_of(params, "deadline")
    if not text:
        return
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("deadline") from None
    if at.tzinfo is None:
        raise invalid("deadline")
    if at.timestamp() * 1e9 < wall_ns:
        raise KrakenError("EService:Deadline elapsed")


def new_order(names: Names, params: Params, now_ns: int) -> tuple[NewOrder, Pair]:
    """The order that parameters describe; a relative expiry counts from `now_ns` of simulated time.

    Raises:
        KrakenError: EGeneral:Invalid arguments:<name>, EQuery:Unknown asset pair.
    """
    one = names.find(required(params, "pair"))
    side, kind = required(params, "type").upper(), required(params, "ordertype")
    if side not in ("BUY", "SELL"):
        raise invalid("type")
    if kind not in ("limit", "market"):
        raise invalid("ordertype")
    flags = names_list(params, "oflags")
    if any(name not in _FLAGS for name in flags) or ("post" in flags and kind == "market"):
        raise invalid("oflags")
    if "fcib" in flags and "fciq" in flags:
        raise invalid("oflags")
    in_force = text_of(params, "timeinforce") or "GTC"
    if in_force not in (*get_args(TimeInForce), "GTD"):
        raise invalid("timeinforce")
    expires_ns = _expiry(params, now_ns)
    if (in_force == "GTD") != (expires_ns is not None):
        raise invalid("expiretm")
    self_trade = _SELF_TRADE.get(text_of(params, "stptype") or "cancel-newest")
    if self_trade is None:
        raise invalid("stptype")
    client_id = text_of(params, "cl_ord_id") or None
    user_ref = whole(params, "userref")
    if client_id is not None and (user_ref is not None or len(client_id) > MAX_CLIENT_ID):
        raise invalid("cl_ord_id")  # the two exclude each other
    volume = amount(params, "volume")
    if volume is None:
        raise invalid("volume")
    price = amount(params, "price") if kind == "limit" else None
    if kind == "limit" and price is None:
        raise invalid("price")
    if price is not None and price % one.instrument.tick:
        raise KrakenError(
            f"EOrder:Invalid price:{one.symbol} price can only be specified up to {one.price_decimals} decimals."
        )
    if "viqc" not in flags and volume < one.instrument.step:
        raise KrakenError("EGeneral:Invalid arguments:volume minimum not met")
    order_type: OrderType = "MARKET" if kind == "market" else "LIMIT_MAKER" if "post" in flags else "LIMIT"
    in_quote = "viqc" in flags
    return NewOrder(
        symbol=one.key,
        side="BUY" if side == "BUY" else "SELL",
        type=order_type,
        time_in_force="IOC" if in_force == "IOC" else "FOK" if in_force == "FOK" else "GTC",
        quantity=None if in_quote else volume,
        quote_quantity=volume if in_quote else None,
        price=price,
        client_id=client_id,
        user_ref=user_ref,
        expires_ns=expires_ns,
        fee_in="base" if "fcib" in flags else "quote" if "fciq" in flags else None,
        self_trade=self_trade,
    ), one


def _expiry(params: Params, now_ns: int) -> int | None:
    text = text_of(params, "expiretm")
    if text.startswith("+"):
        seconds = whole({"expiretm": text[1:]}, "expiretm")
        return None if seconds is None else now_ns + seconds * 10**9
    return seconds_ns(params, "expiretm")
