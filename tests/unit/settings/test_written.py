"""The commented file, the schema and the documentation are of the tree, and say what is checked."""

import re
from pathlib import Path

import msgspec
import pytest

from tradewatch.settings.sources import read
from tradewatch.settings.tree import CHANGING, PROFILES, Limits, Settings, fields
from tradewatch.settings.written import page, schema, template
from tradewatch.settings.yaml import read as read_yaml

DOCS = Path(__file__).parents[3] / "docs"


def settings_of(text, tmp_path):
    (tmp_path / "t.yaml").write_text(text)
    layers = read(config=tmp_path / "t.yaml", environ={})
    assert layers.problems == ()
    return layers.settled()[0]


def test_the_page_is_current():
    assert (DOCS / "configuration.md").read_text() == page(), "run `make docs`"


def test_the_page_lists_every_setting_its_variable_and_every_profile():
    text = page()
    for key, field in fields().items():
        (row,) = re.findall(rf"^\| `{re.escape(key)}` \| (`TRADEWATCH_.*)$", text, re.MULTILINE)
        assert row.startswith(f"`{field.variable}` | ")
        assert f" | {'yes' if key.partition('.')[0] in CHANGING else 'no'} | {field.meaning} |" in row
    assert "| setting | " + " | ".join(PROFILES) + " |" in text


def test_the_messages_that_the_page_shows_are_those_that_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tradewatch.yaml").write_text("# mine\nlimits:\n  daily_los: 0.02\n  drawdown: 15\n")
    said = [str(each) for each in read(config="tradewatch.yaml", environ={}).problems]
    shown = re.findall(r"^tradewatch\.yaml:\d.*$", page(), re.MULTILINE)
    assert len(shown) == len(said) == 2
    for ours, theirs in zip(shown, said, strict=True):
        assert theirs.startswith(ours.removesuffix("..."))


def test_the_file_to_begin_with_sets_nothing(tmp_path):
    assert read_yaml(template()).value == {"limits": None}
    assert settings_of(template(), tmp_path) == Settings()


def test_each_setting_of_it_can_be_taken_in_by_its_sign_alone(tmp_path):
    for key in fields():
        name = key.rpartition(".")[2]
        text, n = re.subn(rf"^( *)#({name}: )", r"\1\2", template(), flags=re.MULTILINE)
        assert n == 1
        found = settings_of(text, tmp_path)
        (given,) = read(config=tmp_path / "t.yaml", environ={}).file
        assert given == key
        tree, default = (found.limits, Limits()) if "." in key else (found, Settings())
        example = fields()[key].examples
        assert (getattr(tree, name) != getattr(default, name)) == bool(example)


def test_lines_of_it_fit_a_page():
    assert max(map(len, template().splitlines())) <= 120


def test_the_schema_is_of_the_whole_tree_and_closed():
    found = schema()
    defs = found["$defs"]
    assert found["$ref"] == "#/$defs/Settings"
    assert set(defs["Settings"]["properties"]) == {key for key in fields() if "." not in key} | {"limits"}
    assert {f"limits.{name}" for name in defs["Limits"]["properties"]} == {key for key in fields() if "." in key}
    assert [defs[name]["additionalProperties"] for name in defs] == [False, False]
    assert defs["Limits"]["properties"]["daily_loss"] == {
        "type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.03,
        "description": "loss since the start of the UTC day, of the equity then",
    }  # fmt: skip
    msgspec.json.encode(found)


@pytest.mark.parametrize("key", fields())
def test_every_setting_says_what_it_means_and_what_is_accepted(key):
    field = fields()[key]
    assert len(field.meaning) > 15
    assert field.accepted()
    assert field.variable.startswith("TRADEWATCH_")
    for example in field.examples:
        field.checked([example] if field.between is not None else example)
    if field.default is not None:
        assert field.checked(field.default) == field.default
