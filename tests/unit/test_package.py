"""What `import tradewatch` gives, and what a bot does not load that it has no use for."""

import subprocess
import sys
from importlib.metadata import version

import tradewatch


def printed(program, **environment):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_the_version_is_that_of_the_installed_package():
    assert tradewatch.__version__ == version("tradewatch")


def test_an_import_alone_loads_nothing_else():
    loaded = (
        "print([name for name in sys.modules if name.startswith(('tradewatch', 'opentelemetry', 'importlib.meta'))])"
    )
    assert printed(f"import sys, tradewatch; {loaded}") == "['tradewatch']"


WATCHED = """
import sys, tempfile
import ccxt.async_support
import tradewatch
class Bot:
    def __init__(self):
        self.exchange = ccxt.async_support.binance()
before = set(sys.modules)
tradewatch.instrument(Bot(), port=0, state_dir=tempfile.mkdtemp())
unused = "yaml", "wrapt", "google", "grpc", "opentelemetry._logs", "opentelemetry.sdk.trace", "http.server", "html"
ours = "tradewatch.telemetry.export", "tradewatch.telemetry.spans"
found = set(sys.modules) - before
print([name for name in (*unused, *ours) if name in found], "tradewatch.watch" in found)
"""


def test_a_bot_without_exporters_and_rule_files_of_its_own_loads_none_of_what_they_need():
    assert printed(WATCHED) == "[] True"
