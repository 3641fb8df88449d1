"""Environments of their own: a Python with this project and other versions of what it stands on.

They are made once and kept outside the work tree, `${XDG_CACHE_HOME:-~/.cache}/tradewatch/environments/<hash>`.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Counted up when what stands in an environment beside its requirements changes.
_EDITION = 1


def made(requirements, cache):
    """The Python of the environment with exactly these requirements; made where there is none yet.

    Two runs that want the same one at once make it once: the second waits. What an interrupted run left is removed: an
    environment has its name only when it is whole.
    """
    metadata = (ROOT / "pyproject.toml").read_text()
    told = json.dumps(
        [_EDITION, sorted(requirements), sys.version, os.path.realpath(sys.executable), str(ROOT), metadata]
    )
    folder = cache / hashlib.sha256(told.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go of by the kernel, however a run ends
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _make(folder, python, requirements)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / "whole").touch()
    return python


def _make(folder, python, requirements):
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_CONSTRAINT", "PYTHONPATH")}

    def run(*command):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"

    run(sys.executable, "-m", "venv", folder)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    # What is not named comes as in this environment, so that only what a test names differs. OpenTelemetry's packages
    # go together: who names one names all that are wanted.
    named = {_name(each) for each in requirements}
    theirs = any(name.startswith("opentelemetry") for name in named)

    def taken(line):
        return _name(line) not in named and not (theirs and line.startswith("opentelemetry"))

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rest = [_name(each) for each in project["dependencies"]]
    rest += ["aiohttp", "ccxt", "hatchling", "editables"]
    pins = folder / "pins.txt"
    pins.write_text("\n".join(filter(taken, (ROOT / "constraints.txt").read_text().splitlines())))
    run(*pip, "--constraint", pins, *requirements, *filter(taken, rest))
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT)


def _name(requirement):
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


@pytest.fixture(scope="session")
def environment():
    """`environment("ccxt==4.4.100", ...)`: the path of the Python of an environment with these and this project."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return lambda *requirements: made(requirements, Path(base) / "tradewatch" / "environments")
