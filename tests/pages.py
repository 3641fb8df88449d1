"""The pages that users read, as blocks: what is fenced in them, in order."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))


class Block(NamedTuple):
    """A fenced block: the page, the line of its fence, its language ('' where it names none), and what is in it.

    `follows` says that there are no words between the block before and this one: it is what the other one gives.
    """

    page: str
    line: int
    language: str
    text: str
    follows: bool

    @property
    def where(self):
        return f"{self.page}:{self.line}"


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page, language=None):
    """All blocks of a page, or those of a language."""
    text = text_of(page)
    made, end = [], 0
    for each in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line, between = text.count("\n", 0, each.start()) + 1, text[end : each.start()]
        made.append(Block(page, line, each[1], each[2], follows=bool(made) and not between.strip()))
        end = each.end()
    assert len(re.findall("^```", text, re.MULTILINE)) == 2 * len(made), f"{page}: a fence that is not closed"
    return [block for block in made if language in (None, block.language)]


def prose_of(page):
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def commands_of(block):
    """The commands of a block of shell, with what a backslash continues, less comments; of a console what follows $."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    told = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [re.sub(r"\s+", " ", line) for line in told if line]
