"""Environments with other versions of libraries, made once in a cache outside the work tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradewatch" / "environments"


def made(requirements):
    """The Python of an environment with these installed; a half-made one is made anew."""
    name = hashlib.sha256("\n".join([sys.version, *sorted(requirements)]).encode()).hexdigest()[:16]
    folder, python = CACHE / name, CACHE / name / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (folder / "ready").touch()
    return python


@pytest.fixture
def environment():
    """`environment("package==1.0", ...)`: the path of a Python that has them."""
    return lambda *requirements: made(requirements)
