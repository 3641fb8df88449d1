"""The one scrubber: takes keys, tokens and signatures out of every text that leaves the process or reaches a disk.

Two ways together: the exact secrets that the instrumented clients hold, learned when a client is first seen, and the
shapes in which venues carry secrets (a signed query, an API-key header, a bearer token).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_READ = 20_000
_LONGEST = 120
_LARGEST = 10**60

MASK = "***"
# Shorter values would mask ordinary words and numbers.
_SHORTEST_SECRET = 6
_WHAT = (
    r"(?:api[-_]?key|x-mbx-apikey|api[-_]?sign|signature|secret|passphrase|password|token|authorization|listenkey"
    r"|private[-_]?key)"
)
# It begins with the word itself: what may stand before it would be tried from every place of a long text.
_PAIR = re.compile(
    rf"(?i)({_WHAT}[\w-]{{0,40}}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"']?(?:bearer\s+|basic\s+)?)([^\s\"'&,;)\]}}]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_SECRET_NAME = re.compile(rf"(?i){_WHAT}[\w-]{{0,40}}$")
_USERINFO = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


class Scrubber:
    """Knows secrets by value and by shape."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def learn(self, values: Iterable[object]) -> None:
        """Remember secret values; what is no text, or too short to be a secret, is left out."""
        found = {v for v in values if isinstance(v, str) and len(v) >= _SHORTEST_SECRET}
        # A key of several lines is also shown line by line, with its line ends escaped; any one also quoted in a URL.
        lines = {line.strip() for v in found for line in v.splitlines() if "-----" not in line}
        found |= {line for line in lines if len(line) >= _SHORTEST_SECRET}
        found |= {quote(v, safe="") for v in found}
        if found - set(self._secrets):
            # Longest first: a secret may hold another one.
            self._secrets = tuple(sorted(found | set(self._secrets), key=len, reverse=True))

    @property
    def known(self) -> int:
        """How many secrets are known; it changes when one is learned."""
        return len(self._secrets)

    def value(self, text: str) -> str:
        """Mask known secrets alone: for short values such as a label or an id."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def text(self, text: str) -> str:
        """Mask known secrets, and whatever has the shape of one."""
        text = self.value(text)
        text = _PAIR.sub(rf"\1{MASK}", text)
        text = _BEARER.sub(rf"\1 {MASK}", text)
        return _USERINFO.sub(f"://{MASK}@", text)

    def attribute(self, name: str, text: str) -> str:
        """Mask what an attribute says: all of it where its name is that of a secret, such as a header's."""
        return MASK if text and _SECRET_NAME.search(name) else self.text(text)


scrubber = Scrubber()


def label(value: object) -> str | None:
    """A short text for a name or an id, without secrets; None where it is none. Runs no code of the bot."""
    if type(value) is str:
        text = value
    elif type(value) is bytes:
        text = value.decode("utf-8", "replace")
    elif type(value) is float or (type(value) is int and abs(value) < _LARGEST):
        text = repr(value)
    elif isinstance(value, str):
        text = str.__str__(value)
    else:
        return None
    # Scrubbed before it is cut: half of a secret would not be known as one.
    text = text[:_READ]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be exported
    return (scrubber.text(text) if "=" in text or ":" in text else scrubber.value(text))[:_LONGEST] or None
