"""Listen keys: the name of a user stream, made, kept alive and closed over REST; each lives for an hour of real time.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/user-data-streams and, of spot,
https://github.com/binance/binance-spot-api-docs/blob/master/user-data-stream.md
"""

from __future__ import annotations

import secrets
import string

from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.errors import VenueError

LIFE_NS = 3_600 * 10**9
_LETTERS = string.ascii_letters + string.digits


class ListenKeys:
    """The keys that are valid: whose each is and until when."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, int]] = {}

    def do(self, operation: str, account: str, params: Params, wall_ns: int) -> dict[str, object]:
        """`listen_key_start` gives the account's key or a new one, `listen_key_keep` prolongs, `listen_key_close` ends.

        Raises:
            VenueError: -1125, the account has no such key.
        """
        key = params.get("listenKey") or self._of(account, wall_ns)
        if operation == "listen_key_start":
            key = self._of(account, wall_ns) or "".join(secrets.choice(_LETTERS) for _ in range(64))
        elif key is None or self.account(key, wall_ns) != account:
            raise VenueError(-1125, "This listenKey does not exist.")
        if operation == "listen_key_close":
            del self._keys[key]
            return {}
        self._keys[key] = account, wall_ns + LIFE_NS
        return {"listenKey": key}

    def account(self, key: str, wall_ns: int) -> str | None:
        """Whose stream a key is; None once it is closed or has expired."""
        account, until_ns = self._keys.get(key, (None, 0))
        return account if wall_ns < until_ns else None

    def _of(self, account: str, wall_ns: int) -> str | None:
        return next((key for key in self._keys if self.account(key, wall_ns) == account), None)
