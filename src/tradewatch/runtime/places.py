"""Where tradewatch keeps what it keeps."""

from __future__ import annotations

import os
from pathlib import Path


def state_base() -> Path:
    """The folder of the bots' state folders: `$XDG_STATE_HOME/tradewatch`, by default `~/.local/state/tradewatch`.

    Raises:
        RuntimeError: this user has no home folder.
    """
    set_to = os.environ.get("XDG_STATE_HOME", "")
    if set_to.startswith("/"):  # the specification: a relative path is ignored
        return Path(set_to) / "tradewatch"
    return Path.home() / ".local" / "state" / "tradewatch"
