"""Every function of Prometheus 3 with the types of its arguments and of its result (`promql/parser/functions.go`)."""

from __future__ import annotations

import msgspec

from tradewatch.promql.ast import ValueType


class Signature(msgspec.Struct, frozen=True):
    """With `variadic` the last argument may be left out, or repeated up to that many times; -1 is any number."""

    args: tuple[ValueType, ...]
    variadic: int = 0
    returns: ValueType = "instant vector"
    experimental: bool = False


_TYPES: dict[str, ValueType] = {"s": "scalar", "t": "string", "v": "instant vector", "m": "range vector"}


def _of(
    args: str, names: str, variadic: int = 0, returns: str = "v", *, experimental: bool = False
) -> dict[str, Signature]:
    signature = Signature(tuple(_TYPES[arg] for arg in args), variadic, _TYPES[returns], experimental)
    return dict.fromkeys(names.split(), signature)


SIGNATURES: dict[str, Signature] = {
    **_of("v", "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count"),
    **_of(
        "v", "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan"
    ),
    **_of("v", "tanh timestamp"),
    **_of("v", "scalar", returns="s"),
    **_of("v", "days_in_month day_of_month day_of_week day_of_year hour minute month year", 1),
    **_of(
        "m", "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate"
    ),
    **_of("m", "last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time"),
    **_of("m", "stdvar_over_time sum_over_time"),
    **_of("vs", "clamp_max clamp_min"),
    **_of("vs", "round", 1),
    **_of("vss", "clamp"),
    **_of("ssv", "histogram_fraction"),
    **_of("sv", "histogram_quantile"),
    **_of("ms", "predict_linear"),
    **_of("sm", "quantile_over_time"),
    **_of("vtttt", "label_replace"),
    **_of("vttt", "label_join", -1),
    **_of("", "pi time", returns="s"),
    **_of("s", "vector"),
    **_of(
        "m",
        "mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
        experimental=True,
    ),
    **_of("mss", "double_exponential_smoothing", experimental=True),
    **_of("vtss", "histogram_quantiles", 9, experimental=True),
    **_of("vv", "info", 1, experimental=True),
    **_of("vt", "sort_by_label sort_by_label_desc", -1, experimental=True),
    **_of("v", "start_timestamp", experimental=True),
    **_of("ss", "max_of min_of", returns="s", experimental=True),
    **_of("", "start end step range", returns="s", experimental=True),
}
