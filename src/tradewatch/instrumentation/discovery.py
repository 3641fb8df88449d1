"""Finds exchange clients on a bot's attributes, without running any of the bot's code.

Breadth first over instance dictionaries, slots, class attributes and built-in containers; properties and
`__getattr__` are never called. Bounded in depth and number, so that a bot that holds a market's history costs no more.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from tradewatch.runtime.failures import failures

# Read through `type` itself: a metaclass of the bot may define both.
_mro = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__
_name = type.__dict__["__name__"].__get__

DEPTH = 4
ITEMS = 64
NODES = 2_000

_PLAIN = (
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    bool,
    type(None),
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
)


class Found(msgspec.Struct, frozen=True):
    """A client and where on the bot it was found, such as `bot.exchanges['kraken']`."""

    client: Any
    path: str


class Search(msgspec.Struct, frozen=True):
    """What a search found, how much it looked at, and whether a bound cut it short."""

    found: tuple[Found, ...]
    looked_at: int
    cut_short: bool


def search(bot: Any, is_client: Callable[[type], bool]) -> Search:
    """Clients on `bot`, or `bot` itself.

    Args:
        bot: any object: a bot, a client, a module, a list of either.
        is_client: tells from a class alone whether its instances are clients.
    """
    found: list[Found] = []
    seen: set[int] = set()
    looked_at = 0
    cut = False
    # What stands beside the bot's class is looked at last, so that a client is named by the bot's own attribute.
    for roots in ([(bot, "bot", 0)], [(item, name, DEPTH - 1) for name, item in _beside(bot)]):
        waiting: deque[tuple[Any, str, int]] = deque(roots)
        while waiting:
            value, path, depth = waiting.popleft()
            if id(value) in seen or type(value) in _PLAIN:
                continue
            if looked_at >= NODES:
                cut = True
                break
            seen.add(id(value))
            looked_at += 1
            with failures.kept("discovery"):
                if not _is_class(value) and is_client(type(value)):
                    found.append(Found(value, path))
                elif depth < DEPTH:
                    waiting.extend([(child, path + step, depth + 1) for child, step in _children(value, depth == 0)])
    return Search(tuple(found), looked_at, cut)


def with_named(made: Search, clients: Iterable[Any], is_client: Callable[[type], bool]) -> Search:
    """A search, and the clients that the caller named which it did not find.

    Raises:
        ValueError: one that is no client.
    """
    found = list(made.found)
    known = {id(each.client) for each in found}
    for i, client in enumerate(clients):
        if _is_class(client) or not is_client(type(client)):
            raise ValueError(
                f"clients[{i}] is a {_name(type(client))}; accepted: an exchange client, such as ccxt.kraken()"
            )
        if id(client) not in known:
            known.add(id(client))
            found.append(Found(client, f"clients[{i}]"))
    return msgspec.structs.replace(made, found=tuple(found))


def attributes_named(bot: Any, names: Container[str]) -> list[Any]:
    """The values of the bot's attributes that have one of these names; no property is read."""
    return [value for name, value in _attributes(bot, type(bot)) if name in names]


def ancestry(kind: type) -> list[tuple[Any, Any]]:
    """(module, name) of a class and those that it derives from; runs no code of theirs or of a metaclass."""
    return [(_module_of(k), _name(k)) for k in _mro(kind)]


def _is_class(value: Any) -> bool:
    """Whether `value` is a class; asked of its type, since `__class__` may be a property of the bot."""
    return issubclass(type(value), type)


def _children(value: Any, root: bool) -> Iterator[tuple[Any, str]]:
    kind = type(value)
    if issubclass(kind, dict):
        for key, item in _first(value, dict, ITEMS):
            yield item, f"[{key!r}]" if type(key) in (str, int) else f"[<{_name(type(key))}>]"
    elif issubclass(kind, (list, tuple)):
        raw = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
        for i, item in enumerate(list(islice(raw, ITEMS))):
            yield item, f"[{i}]"
    elif kind in (set, frozenset, deque):
        for item in list(islice(value.copy(), ITEMS)):
            yield item, "{...}"
    elif kind is types.MappingProxyType:
        # Past the view to the mapping itself: asking the view would ask a mapping of the bot's.
        for mapping in gc.get_referents(value):
            yield from _children(mapping, root)
    elif kind is types.MethodType:
        yield value.__self__, ".__self__"
    elif kind is functools.partial:
        yield value.func, ".func"
    elif kind is types.ModuleType and not root:
        return
    for name, item in _attributes(value, kind):
        yield item, f".{name}"


def _attributes(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    instance = _instance_dict(value, kind)
    if instance is not None:
        yield from _named(instance)
    # A class is looked at as its instances would see it: a bot may keep all that it has on the class.
    for klass in _mro(value if _is_class(value) else kind):
        if _module_of(klass) == "builtins":
            continue
        for name, item in _first(_namespace(klass), types.MappingProxyType, NODES):
            if type(item) is types.MemberDescriptorType:
                if name != "__dict__" and not _is_class(value):
                    try:
                        yield name, item.__get__(value, kind)
                    except AttributeError:
                        continue  # a slot that is not set
            elif not name.startswith("__") and not callable(item) and type(item) is not property:
                yield name, item


def _module_of(kind: type) -> Any:
    """The name of a class's module, read past a metaclass."""
    return _namespace(kind).get("__module__", "builtins")


def _named(mapping: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in _first(mapping, dict, NODES):
        if type(name) is str and not name.startswith("__"):
            yield name, item


def _first(mapping: Any, kind: Any, most: int) -> list[tuple[Any, Any]]:
    """The first items, by the methods of `kind` itself: a subclass may have its own.

    The bot's threads may change the mapping meanwhile: wherever an object is made, a collection of garbage may let them
    run. Only then all of it is copied, which is one step but as long as the mapping is large.
    """
    try:
        return list(islice(kind.items(mapping), most))
    except RuntimeError:
        return list(islice(kind.copy(mapping).items(), most))


def _instance_dict(value: Any, kind: type) -> dict[str, Any] | None:
    """The real instance dictionary, read past any `__dict__` that a class of the bot defines."""
    for klass in _mro(kind):
        descriptor = _namespace(klass).get("__dict__")
        if type(descriptor) in (types.GetSetDescriptorType, types.MemberDescriptorType):
            found = descriptor.__get__(value, kind)
            return found if type(found) is dict else None
        if descriptor is not None:
            return None
    return None


def _beside(bot: Any) -> Iterator[tuple[str, Any]]:
    """What stands beside the bot's class in its module: a client is often made there."""
    module = sys.modules.get(str(_module_of(type(bot))))
    if type(module) is types.ModuleType and module.__name__.split(".")[0] not in ("builtins", "ccxt"):
        for name, item in _named(vars(module)):
            if type(item) is not types.ModuleType and not _is_class(item):
                yield f"{module.__name__}.{name}", item
