"""The default rules ship twice, as the file that people read and as what is loaded: they are the same."""

import subprocess
import sys
from importlib import resources

import pytest

from tradewatch import rules
from tradewatch.rules.shipped import packed
from tradewatch.settings.yaml import read

FILES = resources.files("tradewatch.rules")


def test_json_is_yaml_as_make_docs_writes_it():
    text = (FILES / "default.yaml").read_bytes()
    assert (FILES / "default.json").read_bytes() == packed(read(text, "default.yaml")), "run `make docs`"


def told(groups):
    """All of groups but the templates, whose texts the rules have."""
    return [
        (g.name, g.file, g.line, g.interval_s, g.limit, [(r.rule, r.expr, r.reads, r.needs) for r in g.rules])
        for g in groups
    ]


def test_default_groups_are_those_of_the_yaml_file():
    assert told(rules.default_groups()) == told(rules.loads((FILES / "default.yaml").read_bytes(), "default.yaml"))


def test_what_is_no_text_is_not_packed():
    with pytest.raises(ValueError, match=r"groups\.0\.limit: 5 is no text"):
        packed(read("groups:\n  - name: a\n    limit: 5\n    rules: []\n"))


def test_default_rules_need_no_yaml_library():
    program = "import sys; from tradewatch import rules; rules.default_groups(); print('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"
