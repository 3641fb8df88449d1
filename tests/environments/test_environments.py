"""The environments themselves: made once by two runs at once, also after one that was killed in the middle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAKE = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
print(conftest.made(("ccxt==4.5.90",), pathlib.Path(sys.argv[2])))
"""


@pytest.mark.timeout(600)
def test_two_runs_at_once_make_one_and_an_interrupted_one_is_made_again(tmp_path):
    command = [sys.executable, "-c", MAKE, str(Path(__file__).with_name("conftest.py")), str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    half = _until(lambda: [path for path in tmp_path.iterdir() if (path / "bin").exists()])[0]
    os.killpg(killed.pid, 9)
    killed.wait()
    assert not (half / "whole").exists()
    (half / "left").touch()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {each.communicate()[0].strip() for each in both}
    assert said == {str(half / "bin" / "python")}
    assert not (half / "left").exists()
    look = "import tradewatch.autoload, ccxt; print(ccxt.__version__)"
    done = subprocess.run([said.pop(), "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "4.5.90\n"


def _until(statement):
    import time

    ends = time.monotonic() + 60
    while not (found := statement()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found
