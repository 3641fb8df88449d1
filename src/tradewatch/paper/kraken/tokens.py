"""Tokens of the private websocket channels.

Source: https://docs.kraken.com/api-reference/trading/get-websockets-token
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from tradewatch.paper.accounts import Account
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.kraken.errors import KrakenError


class Tokens:
    """Issued tokens: good for 15 real minutes until first used, and from then on."""

    lifetime_s = 900

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._issued: dict[str, tuple[Account, int]] = {}
        self._used: set[str] = set()

    def issue(self, account: Account, wall_ns: int) -> str:
        """A new token; the same in every run, since it is derived and not drawn."""
        digest = hmac.new(account.secret.encode(), f"token {len(self._issued)}".encode(), hashlib.sha256).digest()
        token = base64.b64encode(digest).decode().rstrip("=")
        self._issued[token] = account, wall_ns + self.lifetime_s * 10**9
        return token

    def account(self, token: str, wall_ns: int) -> Account:
        """Whose token it is.

        Raises:
            KrakenError: ESession:Invalid session.
        """
        account, ends_ns = self._issued.get(token, (None, 0))
        if account is None or (ends_ns < wall_ns and token not in self._used):
            raise KrakenError("ESession:Invalid session")
        self._used.add(token)
        return account
