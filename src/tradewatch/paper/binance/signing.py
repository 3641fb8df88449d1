"""Whose request it is: keys, signatures and the times in them, over HTTP and over the websocket API.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#request-security and
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md#request-security
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from tradewatch.paper.accounts import Account
from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.errors import VenueError, mandatory
from tradewatch.paper.requests import Request

DEFAULT_WINDOW_MS = 5_000.0
MAX_WINDOW_MS = 60_000.0
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")


def authenticate(accounts: Mapping[str, Account], request: Request, params: Params, wall_ns: int) -> Account:
    """Whose HTTP request this is.

    The signature is HMAC-SHA256 in hexadecimal over query and body, without the signature parameter itself.

    Raises:
        VenueError: -2014 no key, -2015 unknown key, -1102 no timestamp or signature, -1131 recvWindow, -1021
            timestamp outside of it (wall clock), -1022 wrong signature.
    """
    account = known(accounts, request.headers.get("x-mbx-apikey"))
    payload = _SIGNATURE.sub("", request.query).lstrip("&") + _SIGNATURE.sub("", request.body).lstrip("&")
    _check_signature(account, payload, params)
    _check_time(params, wall_ns)
    return account


def authenticate_ws(accounts: Mapping[str, Account], params: Params, wall_ns: int) -> Account:
    """Whose request of the websocket API this is: signed are all parameters but the signature, sorted by name.

    Raises:
        VenueError: as `authenticate`.
    """
    account = known(accounts, params.get("apiKey"))
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    _check_signature(account, payload, params)
    _check_time(params, wall_ns)
    return account


def known(accounts: Mapping[str, Account], key: str | None) -> Account:
    """The account of a key.

    Raises:
        VenueError: -2014 no key, -2015 unknown key.
    """
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    account = accounts.get(key)
    if account is None:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return account


def _check_signature(account: Account, payload: str, params: Params) -> None:
    if not params.get("signature"):
        raise mandatory("signature")
    expected = hmac.new(account.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), params["signature"].lower().encode()):
        raise VenueError(-1022, "Signature for this request is not valid.")


def _check_time(params: Params, wall_ns: int) -> None:
    text = params.get("timestamp", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise mandatory("timestamp")
    sent_ms = int(text) / 1_000 if len(text) >= 16 else float(text)  # microseconds are accepted too
    try:
        window_ms = float(params.get("recvWindow", DEFAULT_WINDOW_MS))
    except ValueError:
        raise mandatory("recvWindow") from None
    if not 0 < window_ms <= MAX_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    late_ms = wall_ns / 1e6 - sent_ms
    if late_ms <= -1_000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if late_ms > window_ms:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
