"""Metrics and spans are those of naive OpenTelemetry on every version of the SDK that tradewatch accepts."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRIED = """
from tradewatch.telemetry.agreement import disagreement
print(disagreement())
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["1.43.0", "1.44.0", "1.45.1", "1.45.2"])
def test_folded_metrics_equal_recorded_ones_on_every_sdk(environment, version):
    names = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
    python = environment(*(f"{name}=={version}" for name in names), "pytest==9.2.0")
    places = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    tried = subprocess.run([python, "-c", TRIED], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (tried.stdout, tried.stderr) == ("None\n", "")
    tests = [ROOT / "tests" / "unit" / "telemetry" / name for name in ("test_fold.py", "test_fold_series.py")]
    pytest_there = [
        python,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        ROOT,
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "folding",
    ]
    there = subprocess.run(
        [*pytest_there, "-q", *tests], env=env, capture_output=True, text=True, timeout=400, check=False
    )
    assert there.returncode == 0, there.stdout[-3000:] + there.stderr
    assert " passed" in there.stdout
    # Calls of a real client: see tests/parity.
    compared = subprocess.run(
        [python, "-W", "error", "-m", "parity"], env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert (compared.returncode, compared.stderr) == (0, "")
    said = [json.loads(line) for line in compared.stdout.splitlines()]
    assert said == [{"differs": [], "compared": [14, 17]}, {"differs": [], "compared": [14, 18]}]
