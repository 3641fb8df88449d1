"""Go's `fmt` verbs for numbers and text, as far as alert templates use them."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

# Go writes an exponent where it is below -4, and from here on.
_EXPONENT_FROM = 6
_VERB = re.compile(r"%(?P<flags>[-+0]*)(?P<width>\d{1,3})?(?:\.(?P<precision>\d{0,3}))?(?P<verb>.)", re.DOTALL)


class Verb(NamedTuple):
    """One `%` verb: flags out of `-+0`, width, precision, and one of `f g e d s v`."""

    flags: str
    width: int | None
    precision: int | None
    verb: str


def format_verbs(text: str) -> tuple[str | Verb, ...]:
    """A format as literal text and verbs.

    Raises:
        ValueError: a verb or a flag that is not supported; the message names it.
    """
    parts: list[str | Verb] = []
    at = 0
    while (start := text.find("%", at)) >= 0:
        parts.append(text[at:start])
        match = _VERB.match(text, start)
        if match is None:
            raise ValueError(f"{text[start:]!r}")
        if match[0] == "%%":
            parts.append("%")
        elif match["verb"] not in "fgedsv":
            raise ValueError(f"{match[0]!r}")
        else:
            precision = None if match["precision"] is None else int(match["precision"] or 0)
            parts.append(
                Verb(match["flags"], int(match["width"]) if match["width"] else None, precision, match["verb"])
            )
        at = match.end()
    parts.append(text[at:])
    return tuple(part for part in parts if part != "")


def shown(value: float | str) -> str:
    """What `{{ value }}` prints: Go's `%v`."""
    return value if isinstance(value, str) else _float(value, "g", None)


def format_verb(verb: Verb, value: float | str) -> str:
    """One value by one verb; a verb that does not suit the value gives Go's `%!d(float64=3)`."""
    if isinstance(value, str):
        if verb.verb in "sv":
            return _padded(verb, value if verb.precision is None else value[: verb.precision])
        return f"%!{verb.verb}(string={format_verb(verb._replace(verb='v'), value)})"
    if verb.verb in "ds":
        return f"%!{verb.verb}(float64={format_verb(verb._replace(verb='v'), value)})"
    kind = "g" if verb.verb == "v" else verb.verb
    precision = 6 if verb.precision is None and kind != "g" else verb.precision
    text = _float(value, kind, precision)
    # For %v a plus means something else, which changes no number.
    if "+" in verb.flags and text[0] not in "+-" and verb.verb != "v":
        text = "+" + text
    zeros = "0" in verb.flags and "-" not in verb.flags and math.isfinite(value)
    if zeros and verb.width is not None:
        sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
        return sign + digits.rjust(verb.width - len(sign), "0")
    return _padded(verb._replace(flags=verb.flags.replace("0", "")), text)


def _padded(verb: Verb, text: str) -> str:
    if verb.width is None:
        return text
    if "-" in verb.flags:
        return text.ljust(verb.width)
    return text.rjust(verb.width, "0" if "0" in verb.flags else " ")


def _float(value: float, kind: str, precision: int | None) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if precision is not None:
        return f"{value:.{precision}{kind}}"
    # The shortest digits that read back as the same number.
    mantissa, _, exponent = f"{value!r}".partition("e")
    digits = mantissa.lstrip("-").replace(".", "")
    point = len(mantissa.lstrip("-").split(".")[0]) + int(exponent or 0)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    if not stripped:
        return sign + "0"
    power = point - 1
    if power < -4 or power >= _EXPONENT_FROM:
        fraction = f".{stripped[1:]}" if len(stripped) > 1 else ""
        return f"{sign}{stripped[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{stripped}"
    whole, fraction = stripped[:point].ljust(point, "0"), stripped[point:]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole
