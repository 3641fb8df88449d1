"""Watching by inheritance: a bot that is instrumented as soon as it is built."""

from __future__ import annotations

import asyncio
from abc import ABCMeta
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tradewatch import registry
from tradewatch.watch import Watch


class _Built(ABCMeta):
    """Instruments what it has built: after the last `__init__`, also a dataclass's. Goes with abstract classes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        bot = super().__call__(*args, **kwargs)
        registry.instrument(bot, **cls.tradewatch_settings)  # type: ignore[attr-defined]
        return bot


class Watched(metaclass=_Built):
    """A mixin that does what `tradewatch.instrument` does, once the bot's `__init__` is over.

    >>> class Grid(tradewatch.Watched):
    ...     tradewatch_settings = {"name": "grid-1", "limits": {"daily_loss": 0.02}}

    `with Grid() as bot:` and `async with` stop watching at the end of the block.

    Attributes:
        tradewatch_settings: what `tradewatch.instrument` takes, by name.

    Raises:
        What `tradewatch.instrument` raises, from the bot's constructor.
    """

    tradewatch_settings: ClassVar[Mapping[str, Any]] = {}

    @property
    def watch(self) -> Watch:
        """The bot's watch; after the end of watching, the last one's state is gone and a KeyError says so."""
        return registry.watch_of(self)

    def __enter__(self) -> Self:
        """The bot."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching."""
        registry.uninstrument(self)

    async def __aenter__(self) -> Self:
        """The bot."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop watching, off the loop: it may take two seconds."""
        await asyncio.to_thread(registry.uninstrument, self)
