"""Links to state folders that are not where their bots' names say, so that these are found by name too.

They stand in `<usual place>/.elsewhere`, one a folder, named by a hash of its path: no bot's own folder begins with a
dot. One that a bot which died has left leads to a socket where nobody listens, or nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tradewatch.runtime.places import state_base

_NAME = ".elsewhere"


def add(folder: Path, bot: str) -> Path | None:
    """Link to the folder of a bot that runs; the link, None where its folder is the usual one of its name.

    Raises:
        OSError: it cannot be made.
        RuntimeError: this user has no home folder.
    """
    from hashlib import blake2b

    from tradewatch.store.folder import make_folder, state_folder

    base, folder = state_base().resolve(), folder.resolve()
    if folder == state_folder(bot).resolve():
        return None
    links = base / _NAME
    make_folder(links)
    for each in links.iterdir():
        if not os.path.exists(each):  # its folder is gone, a temporary one for instance
            each.unlink(missing_ok=True)
    link = links / blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    with suppress(FileExistsError):
        link.symlink_to(folder)
    return link


def linked(base: Path) -> Iterator[Path]:
    """The folders that are linked to."""
    with suppress(OSError):
        for name in sorted(os.listdir(base / _NAME)):
            yield Path(os.path.realpath(base / _NAME / name))
