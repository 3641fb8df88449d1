"""Which fills have been seen, in some 20 bytes each: 64 bits of an identity stand for it.

Of 150,000 fills that are remembered, a new one is taken for one of them with a chance of 150,000 / 2^64: 10^-14.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable

Identity = tuple[str, str]
_BUCKETS = 1024


class Identities:
    """Order and trade ids. Those that were retired are forgotten when more than `most` others were retired after them.

    `forgotten_to_ns` is the latest venue time of what was forgotten, None as long as nothing was.
    """

    def __init__(self, most: int) -> None:
        self.forgotten_to_ns: int | None = None
        self._most = most
        # Small sorted arrays: a set of numbers takes 100 bytes each, and one large array is slow to insert into.
        self._buckets: dict[int, array[int]] = {}
        self._retired: deque[tuple[int, array[int]]] = deque()
        self._retired_count = 0

    def __contains__(self, identity: Identity) -> bool:
        number = hash(identity)
        bucket = self._buckets.get(number % _BUCKETS)
        if bucket is None:
            return False
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, identity: Identity) -> None:
        """Remember one."""
        number = hash(identity)
        bucket = self._buckets.get(number % _BUCKETS)
        if bucket is None:
            bucket = self._buckets[number % _BUCKETS] = array("q")
        bucket.insert(bisect_left(bucket, number), number)

    def retire(self, identities: Iterable[Identity], last_ns: int) -> None:
        """Remember these, which have been added, for some time only; `last_ns` is the latest of their venue times."""
        retired = array("q", map(hash, identities))
        self._retired.append((last_ns, retired))
        self._retired_count += len(retired)
        while self._retired_count - len(self._retired[0][1]) >= self._most:
            forgotten_ns, forgotten = self._retired.popleft()
            self._retired_count -= len(forgotten)
            for number in forgotten:
                bucket = self._buckets[number % _BUCKETS]
                del bucket[bisect_left(bucket, number)]
            self.forgotten_to_ns = max(forgotten_ns, self.forgotten_to_ns or forgotten_ns)
