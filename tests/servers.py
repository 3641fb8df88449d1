"""Builds the servers that tests/stack runs against, from the Go module proxy, into a cache outside of the work tree.

They are at the versions of docker-compose.yml and otel-collector/builder-config.yaml. What is in the cache is not built
again, so the second run takes a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "otel-collector" / "builder-config.yaml"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.164.0"
GO = (1, 26)


class BuildError(Exception):
    """A server that could not be built, and what to do."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A program of the cache: its name, how it is told apart from other versions of itself, and what makes it."""

    name: str
    version: str
    build: Callable[[Path, Path], None]

    @property
    def binary(self) -> Path:
        """Where the program is or will be."""
        return cache() / f"{self.name}-{self.version}"


def cache() -> Path:
    """The folder of the programs: TRADEWATCH_SERVERS, or one below the user's cache."""
    named = os.environ.get("TRADEWATCH_SERVERS")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else home / "tradewatch" / "servers"


def go(*args: str, cwd: Path, log: Path, **env: str) -> str:
    """Run the go command; returns what it printed.

    Raises:
        BuildError: it is not there, or failed.
    """
    ours = {"GOWORK": "off", "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath -modcacherw", **env}
    with log.open("ab") as written:
        done = subprocess.run(
            ["go", *args], cwd=cwd, env={**os.environ, **ours}, stdout=subprocess.PIPE, stderr=written, check=False
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(f"go {' '.join(args)} failed; the end of its messages:\n{last}")
    return done.stdout.decode()


def from_module(module: str, package: str, ldflags: str = "") -> Callable[[Path, Path], None]:
    """Builds a package inside a copy of its module, since a module with `replace` lines cannot be installed by name."""

    def build(folder: Path, target: Path) -> None:
        log = folder / "log"
        (folder / "empty").mkdir()
        go("mod", "init", "empty", cwd=folder / "empty", log=log)
        asked = go("mod", "download", "-json", module, cwd=folder / "empty", log=log)
        source = re.search(r'"Dir": "([^"]+)"', asked)
        if source is None:
            raise BuildError(f"go mod download {module} named no folder")
        shutil.copytree(source[1], folder / "source")
        for path in [folder / "source", *(folder / "source").rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        go("build", f"-ldflags=-s -w {ldflags}", "-o", str(target), package, cwd=folder / "source", log=log)

    return build


def collector(folder: Path, target: Path) -> None:
    """The Collector of our manifest."""
    log, made, manifest = folder / "log", folder / "made", folder / "builder-config.yaml"
    go("install", BUILDER, cwd=folder, log=log, GOBIN=str(folder / "bin"))
    # Where the sources go can be said in the manifest alone.
    manifest.write_text(MANIFEST.read_text().replace("dist:\n", f"dist:\n  output_path: {made}\n", 1))
    with log.open("ab") as written:
        done = subprocess.run(
            [folder / "bin" / "builder", "--config", manifest, "--skip-compilation"],
            cwd=folder,
            env={**os.environ, "GOWORK": "off", "GOFLAGS": "-modcacherw"},
            stdout=written,
            stderr=written,
            check=False,
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(f"the Collector's builder failed; the end of its messages:\n{last}")
    go("build", "-ldflags=-s -w", "-o", str(target), ".", cwd=made, log=log)


PROMETHEUS = "github.com/prometheus/prometheus@v0.315.0"
SERVERS = (
    Server("otelcol", "0.161.0-" + hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:12], collector),
    Server("prometheus", "3.15.0", from_module(PROMETHEUS, "./cmd/prometheus")),
    Server("promtool", "3.15.0", from_module(PROMETHEUS, "./cmd/promtool")),
    Server("jaeger", "2.13.0", from_module("github.com/jaegertracing/jaeger@v1.76.0", "./cmd/jaeger")),
    Server("alertmanager", "0.28.1", from_module("github.com/prometheus/alertmanager@v0.28.1", "./cmd/alertmanager")),
)


def missing() -> list[Server]:
    """The servers that are not in the cache."""
    return [server for server in SERVERS if not server.binary.exists()]


def make(server: Server) -> None:
    """Build a server into the cache, whole or not at all.

    Raises:
        BuildError: what went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="tradewatch-servers-") as name:
        folder = Path(name)
        made = server.binary.with_name(f".{server.binary.name}.{os.getpid()}")
        try:
            server.build(folder, made)
            made.replace(server.binary)
        finally:
            made.unlink(missing_ok=True)


def check_go() -> None:
    """Whether there is a Go that can build them.

    Raises:
        BuildError: there is none, or it is too old.
    """
    wanted = f"Go {GO[0]}.{GO[1]} or later builds the servers; see https://go.dev/dl"
    if shutil.which("go") is None:
        raise BuildError(f"{wanted}. There is no 'go' on the PATH.")
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GO:
        raise BuildError(f"{wanted}. The one on the PATH is {said or 'of no version that it tells'}.")


def main() -> int:
    """Build what is missing; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="make servers",
        description="Build the servers that tests/stack runs against: " + ", ".join(one.name for one in SERVERS) + ".",
        epilog="TRADEWATCH_SERVERS names another folder than ~/.cache/tradewatch/servers. Ten minutes on two cores.",
    )
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing, and build nothing")
    given = parser.parse_args()
    if given.list:
        for server in SERVERS:
            print(f"{server.name:14}{server.binary if server.binary.exists() else 'missing: make servers'}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if missing():
                check_go()
            for server in missing():
                print(f"{server.name} {server.version} ...", end=" ", flush=True)
                began = time.monotonic()
                make(server)
                print(f"{time.monotonic() - began:.0f} s, {server.binary.stat().st_size >> 20} MB", flush=True)
    except BuildError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nerror: {error}. TRADEWATCH_SERVERS names another folder.", file=sys.stderr)
        return 1
    print(f"servers: {cache()}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
