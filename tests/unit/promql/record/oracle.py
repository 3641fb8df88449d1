"""Asks the Go program in `oracle/`, and writes what it answers."""

import gzip
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent.parent


def ask(what, questions):
    """What the Go program in `oracle/` answers."""
    asked = subprocess.run(
        ["go", "run", ".", what],
        cwd=HERE / "oracle",
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(asked.stdout)


def write(name, content):
    """A gzip file that is the same for the same content."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    (HERE / "data" / name).write_bytes(gzip.compress(text.encode(), mtime=0))
