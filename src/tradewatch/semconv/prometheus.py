"""How Prometheus spells names, units and labels of OpenTelemetry.

After OpenTelemetry's 'Prometheus and OpenMetrics compatibility', as its Python exporter reads it: runs of other
characters become one underscore, the unit is spelled out and appended, a counter ends in `_total`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NO_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"{.*}")
_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


@lru_cache(2_000)
def unit_name(unit: str) -> str:
    """`s` → `seconds`, `By/s` → `bytes_per_second`; an annotation in braces, and `1`, say nothing."""
    unit = _ANNOTATION.sub("", unit)
    if unit in _UNITS:
        return _UNITS[unit]
    top, slash, below = unit.partition("/")
    below = _NO_NAME.sub("_", below)
    if slash and below:
        top = _NO_NAME.sub("_", top)
        return "_".join(word for word in (_UNITS.get(top, top), "per", _PER.get(below, below)) if word)
    return _NO_NAME.sub("_", unit).strip("_")


@lru_cache(5_000)
def family_name(name: str, unit: str, *, counter: bool) -> str:
    """A metric's name with its unit, and for a counter without the `_total` that its samples end in."""
    name = _NO_NAME.sub("_", _leading(name))
    if counter:
        name = name.removesuffix("_total")
    spelled = unit_name(unit)
    return name if not spelled or name.endswith(f"_{spelled}") else f"{name}_{spelled}"


@lru_cache(5_000)
def label_name(name: str) -> str:
    """An attribute's name as a label."""
    return _NO_LABEL.sub("_", _leading(name))


def _leading(name: str) -> str:
    return "_" + name[1:] if name[:1].isdigit() else name
