"""What must survive the process: one append-only SQLite log in one folder, written by one process at a time.

A row is an `Event` whose body is the JSON of a Struct. `Store.open` begins or opens the log, `append` writes, `last`
and `read` give back (`peek` and `rows_of` read beside the process that has it), `decode` makes the Struct again. What
goes wrong is a `StoreUnavailable` that says what to do.
"""

from tradewatch.store.body import decode, encode
from tradewatch.store.folder import state_folder
from tradewatch.store.log import DAMAGED, Damaged, Store, peek, rows_of
from tradewatch.store.unavailable import StoreInUse, StoreUnavailable

__all__ = [
    "DAMAGED",
    "Damaged",
    "Store",
    "StoreInUse",
    "StoreUnavailable",
    "decode",
    "encode",
    "peek",
    "rows_of",
    "state_folder",
]
