"""A secret in a file of its own, as Docker, Kubernetes and systemd's credentials hand them over."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from tradewatch.runtime.failures import failures

MAX_BYTES = 8192
ACCEPTED = f"a file with one line of text, at most {MAX_BYTES:,} bytes, that this user can read"


def read_secret(path: str) -> str:
    """What a file holds, without the white space around it.

    Raises:
        ValueError: it cannot be used; the text says why, without anything of what it holds.
    """
    try:
        # A pipe would keep the bot waiting for whoever writes into it.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ValueError("it is no file")
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"a file that cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    try:
        text = data.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        raise ValueError("text that is not UTF-8") from None
    if not text:
        raise ValueError("an empty file")
    if not text.isprintable():
        raise ValueError("more than one line, or a character that cannot be printed")
    if mode & stat.S_IROTH:
        failures.warn(f"secret {path}", f"the secret in {path} can be read by every user: chmod o-r {path}")
    return text


def credential(name: str, environ: Mapping[str, str]) -> str | None:
    """The file of a systemd credential (`LoadCredential=NAME:...`, systemd.exec(5)), None where there is none."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    path = os.path.join(folder, name)
    return path if folder.startswith("/") and os.path.lexists(path) else None
