"""Which endpoints of an exchange send orders, found from its class.

ccxt's classes name their endpoints as attributes, and the code of `create_order` and `edit_order` names the attributes
that it calls. So what sends an order is read from the class itself, for every exchange, a user's subclass included. An
endpoint that also serves cancels counts as one that sends orders: what cannot be told apart, a closed gate stops.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from tradewatch.instrumentation.patch import original_of

_PLACES = re.compile(r"(create|edit)_(\w+_)?orders?(_ws|_request|_requests)?")
_TEST = re.compile(r"(?i)[/_-]?test$")  # checked by the venue, never matched
# For endpoints that ccxt's own methods never call: a word for an order, and none for what only reads or cancels.
_ORDER = re.compile(r"(?i)order|(^|/)(buy|sell)(/|$)")
_NO_ORDER = re.compile(r"(?i)cancel(?!.?(replace|and|new))|query|status|history|info|open_?orders|closed_?orders")


class Endpoints(msgspec.Struct, frozen=True):
    """Endpoints as (HTTP method, path template). `placing` send orders, `others` serve something else.

    `placing_by_get` is True for the venues that take orders by GET.
    """

    placing: frozenset[tuple[str, str]]
    others: frozenset[tuple[str, str]]
    placing_by_get: bool

    def sends_orders(self, method: str, path: str) -> bool:
        """Whether a call of this endpoint must be treated as an order."""
        if is_test(path):
            return False
        if (method, path) in self.placing:
            return True
        if (method, path) in self.others or method in ("GET", "DELETE"):
            return False
        return _ORDER.search(path) is not None and _NO_ORDER.search(path) is None


def is_test(path: str) -> bool:
    """Whether orders that are sent there are checked by the venue and never matched."""
    return _TEST.search(path) is not None


def endpoints_of(kind: type) -> Endpoints:
    """The endpoints of an exchange's class, read once."""
    return _read(kind)


@lru_cache(maxsize=256)
def _read(kind: type) -> Endpoints:
    """Reads names from code objects; calls nothing."""
    named: dict[str, tuple[str, str]] = {}
    functions: list[tuple[str, Any]] = []
    for owner in kind.__mro__:
        for name, value in list(vars(owner).items()):
            if type(value).__name__ == "Entry":
                named.setdefault(name, (str(value.method).upper(), str(value.path)))
            elif name == name.lower() and hasattr(value, "__code__"):
                functions.append((name, original_of(value) or value))
    placing: set[tuple[str, str]] = set()
    others: set[tuple[str, str]] = set()
    read: set[tuple[str, str]] = set()
    for name, function in functions:
        used = {named[n] for n in function.__code__.co_names if n in named}
        (placing if _PLACES.fullmatch(name) else others).update(used)
        if name.startswith(("fetch_", "load_")):
            read |= used
    # Some create_order read first, such as the order that an edit is about.
    placing -= {endpoint for endpoint in placing & read if endpoint[0] == "GET"}
    return Endpoints(frozenset(placing), frozenset(others), any(method == "GET" for method, _ in placing))
