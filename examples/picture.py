"""`make picture`: the demo's live view once its bot is halted, as docs/live-view.svg.

The picture is what rich exports of a real run. It names no font to be fetched, so it shows the same without a network.
"""

import asyncio
import io
import sys
from pathlib import Path

from rehearsal import Heard, RehearsalError, Screen, rehearse
from rich.console import Console, RenderableType

import tradewatch

PICTURE = Path(__file__).parents[1] / "docs" / "live-view.svg"
COLUMNS, LINES = 100, 32
REFUSALS = 4
BOUNDED_S = 120.0
# rich fills in the words in braces; its own format fetches a font.
FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: ui-sans-serif, system-ui, sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture(screen: RenderableType) -> str:
    """What stands on a terminal of 100 by 32, as SVG."""
    console = Console(
        record=True, file=io.StringIO(), width=COLUMNS, height=LINES, force_terminal=True, color_system="truecolor",
        highlight=False, legacy_windows=False, _environ={},
    )  # fmt: skip
    console.print(screen)
    return console.export_svg(title="make demo", code_format=FORMAT, unique_id="live")


def main() -> int:
    """Run the demo until it is halted; returns the exit code."""
    drawn = []

    async def draw(watch: tradewatch.Watch, heard: Heard, console: Console) -> None:
        while not drawn:
            status = watch.status()
            halt = status.breaker
            if halt.state == "HALTED" and halt.confirmed and halt.refused >= REFUSALS:
                drawn.append(picture(Screen(status, heard)))
            await asyncio.sleep(0.1)

    try:
        asyncio.run(rehearse(BOUNDED_S, draw, Console(highlight=False)))
    except RehearsalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not drawn:
        print(f"error: no halt within {BOUNDED_S:g} s, so there is nothing to draw", file=sys.stderr)
        return 1
    PICTURE.write_text(drawn[0], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
