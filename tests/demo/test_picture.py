"""The picture of the README: what rich draws of the live view, and nothing to be fetched."""

import re
from xml.etree import ElementTree

import pytest

from pages import ROOT, text_of
from tradewatch.cli import live

PICTURE = ROOT / "docs" / "live-view.svg"


def words_of(svg):
    """The lines of text as they stand in the picture, one below the other."""
    lines = {}
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        lines.setdefault(float(text.get("y")), []).append((float(text.get("x")), "".join(text.itertext())))
    return ["".join(text for _, text in sorted(lines[y])).replace("\xa0", " ") for y in sorted(lines)]


def nothing_is_fetched(svg):
    assert set(re.findall(r"https?://[\w.-]+", svg)) <= {"http://www.w3.org", "http://127.0.0.1"}
    assert not re.search(r"@import|@font-face|href=|/home/|/tmp/|/root/|/work/", svg)


@pytest.fixture
def picture(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import picture

    return picture


def test_a_halted_bot_is_drawn_with_its_reason_and_numbers(made, picture):
    svg = picture.picture(live.view(made.halted(), "simulated, 200 x"))
    nothing_is_fetched(svg)
    words = "\n".join(words_of(svg))
    assert "■ HALTED by DailyLoss at 2023-03-03 01:31:39 UTC" in words
    assert "MarketMaker lost 3.33% today, beyond the limit daily_loss" in words
    assert 'tradewatch_limit{limit="daily_loss"} = 0.03' in words
    assert "simulated, 200 x" in words


def test_the_picture_of_the_readme_is_of_a_demo_that_was_halted():
    assert re.search(r"!\[[^\]]{80,}\]\(docs/live-view\.svg\)", text_of("README.md")), "the picture, told in words too"
    svg = PICTURE.read_text(encoding="utf-8")
    nothing_is_fetched(svg)
    words = "\n".join(words_of(svg))
    for shown in (
        "HALTED by DailyLoss",
        "confirmed on disk",
        "simulated, 200 x",
        "order not taken: tradewatch refused",
    ):
        assert shown in words
