"""Which endpoints of an exchange send orders, found from its class.

ccxt's classes name their endpoints as attributes, and the code of `create_order` and `edit_order` names the attributes
that it calls. So what sends an order is read from the class itself, for every exchange, a user's subclass included.

Some venues have one endpoint for orders, cancels and more. What is sent there is told apart by its payload: the code
that makes orders has words that the code that makes cancels has not, and the other way round. What has words of
neither is unclear, and a closed gate stops it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, Literal

import msgspec

from tradewatch.instrumentation.patch import original_of

PLACES = re.compile(
    r"(create|edit)_(\w+_)?orders?(_ws|_request|_requests)?|create_convert_trade|close_(all_)?positions?"
)
_TEST = re.compile(r"(?i)[/_-]?test$")  # checked by the venue, never matched
# For endpoints that ccxt's own methods never call: a word for an order, and none for what only reads or cancels.
_ORDER = re.compile(
    r"(?i)order(?!ly)|(^|[/_-])(buy|sell)|(buy|sell)(/|$)|stop_?(limit|loss)|cancel_?replace|tpsl"
    r"|(create|close|change|reverse)[_-]?(all[_-]?|sub)?position|position/(close|reverse)"
    # What trades without that word: quotes that are taken, conversions, leveraged tokens, bots of the venue's own.
    r"|(execute|accept)[_-]?quote$|trade[_-]execute|(easy|bgb)[_-]convert|(convert|dcd)/trade"
    r"|(blvt|lever-token)/(subscribe|purchase|redeem)|create-(\w+-)?bot$"
)
_NO_ORDER = re.compile(
    r"(?i)cancel(?!.?(replace|and|new))|query|status|history|/hist$|info|open[_-]?orders|closed[_-]?orders|search"
    r"|(^|/)(get|list)(?-i:[A-Z_])|current_?list|order-list$|_book$|orderbook|order-book|_data/?$|_detail$|_count$"
    r"|estimate|pre-?check|/calc/|(^|/)auth/r/|kill-?switch|all_?after|repay$|rebate"
)
_VERB = re.compile(r"[A-Za-z_]{4,30}")
_DEPTH, _SHORT = 12, 60
# In what a client has signed and encoded, such as a transaction, only a type's whole name is told from chance.
_TYPE_NAME = re.compile(r"/[\w.]{12,}", re.ASCII)

Says = Literal["order", "other", "unclear"]


class Endpoints(msgspec.Struct, frozen=True):
    """Endpoints as (HTTP method, path template). `placing` send orders, `others` serve something else.

    `placing_by_get` is True for the venues that take orders by GET. Of endpoints that are both: `order_words` and
    `other_words` tell payloads apart, `words` are all that are known there, and `users` are the methods that call one
    for something else.
    """

    placing: frozenset[tuple[str, str]]
    others: frozenset[tuple[str, str]]
    placing_by_get: bool
    order_words: frozenset[str]
    other_words: frozenset[str]
    words: frozenset[str]
    users: frozenset[str]

    def never_orders(self, method: str, path: str) -> bool:
        """Whether what is called there sends no order, whatever its parameters."""
        return ((method, path) not in self.placing or is_test(path)) and self.says(method, path, None) == "other"

    @property
    def shared(self) -> frozenset[tuple[str, str]]:
        """Endpoints that send orders and serve something else too."""
        return self.placing & self.others

    def says(self, method: str, path: str, payload: Any) -> Says:
        """What a call of this endpoint with these parameters is; unclear only at endpoints that are shared."""
        if is_test(path):
            return "other"
        if (method, path) in self.placing:
            return self._told(payload) if (method, path) in self.others else "order"
        if (method, path) in self.others or method in ("GET", "DELETE"):
            return "other"
        return "order" if _ORDER.search(path) is not None and _NO_ORDER.search(path) is None else "other"

    def _told(self, payload: Any) -> Says:
        said = set(_said(payload, _DEPTH))
        if said & self.order_words:
            return "order"
        if said & self.other_words and not any(_names_order(word) for word in said - self.words):
            return "other"
        return "unclear"


def is_test(path: str) -> bool:
    """Whether orders that are sent there are checked by the venue and never matched."""
    return _TEST.search(path) is not None


def endpoints_of(kind: type) -> Endpoints:
    """The endpoints of an exchange's class, read once."""
    return _read(kind)


@lru_cache(maxsize=4_096)
def never_orders(kind: type, method: str, path: str) -> bool:
    """Whether an endpoint of this class sends no order, whatever its parameters; remembered: each request asks."""
    return endpoints_of(kind).never_orders(method, path)


@lru_cache(maxsize=512)
def _read(kind: type) -> Endpoints:
    """Reads names and words from code objects; calls nothing."""
    named: dict[str, tuple[str, str]] = {}
    functions: list[tuple[str, CodeType]] = []
    for owner in kind.__mro__:
        for name, value in list(vars(owner).items()):
            if type(value).__name__ == "Entry":
                named.setdefault(name, (str(value.method).upper(), str(value.path)))
            elif name == name.lower() and hasattr(value, "__code__"):
                functions.append((name, (original_of(value) or value).__code__))
    placing: set[tuple[str, str]] = set()
    others: set[tuple[str, str]] = set()
    read: set[tuple[str, str]] = set()
    for name, code in functions:
        used = {named[n] for n in code.co_names if n in named}
        (placing if PLACES.fullmatch(name) else others).update(used)
        if name.startswith(("fetch_", "load_")):
            read |= used
    # Some create_order read first, such as the order that an edit is about.
    placing -= {endpoint for endpoint in placing & read if endpoint[0] == "GET"}
    order_words: set[str] = set()
    other_words: set[str] = set()
    users: set[str] = set()
    if placing & others:
        for name, code in functions:
            if PLACES.fullmatch(name):
                order_words |= set(_words(code))
            elif name.startswith("cancel_") or any(named.get(n) in placing for n in code.co_names):
                other_words |= set(_words(code))
                users.add(name)
    return Endpoints(
        frozenset(placing),
        frozenset(others),
        any(method == "GET" for method, _ in placing),
        frozenset(order_words - other_words),
        frozenset(other_words - order_words),
        frozenset(order_words | other_words),
        frozenset(users),
    )


def _words(code: CodeType) -> Iterator[str]:
    """The short texts that a function's code has as constants."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _words(const)
        else:
            yield from (w for w in (const if isinstance(const, tuple) else (const,)) if type(w) is str and _is_word(w))


def _names_order(word: str) -> bool:
    """Whether a word sounds like a kind of order, one that this ccxt does not make itself."""
    return bool(_VERB.fullmatch(word) and _ORDER.search(word) and not _NO_ORDER.search(word))


def _is_word(text: str) -> bool:
    return 2 < len(text) < _SHORT and " " not in text


def _said(payload: Any, depth: int) -> Iterator[str]:
    """The short texts in a payload: values, and names of what has values below it.

    Names of plain values tell nothing: the same ones stand in orders and in cancels.

    Raises:
        ValueError: nested too deeply to be read.
    """
    if not depth:
        raise ValueError("nested too deeply")
    if isinstance(payload, dict):
        for name, value in list(payload.items()):
            if type(name) is str and value and isinstance(value, (dict, list, tuple)):
                yield name
            yield from _said(value, depth - 1)
    elif isinstance(payload, (list, tuple)):
        for value in payload:
            yield from _said(value, depth - 1)
    elif type(payload) is str:
        if _is_word(payload):
            yield payload
        elif len(payload) >= _SHORT:
            yield from _TYPE_NAME.findall(_decoded(payload))


def _decoded(text: str) -> str:
    """What a text in hexadecimal or base64 says, read as Latin-1; else nothing."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            return ""
    return raw.decode("latin-1")
