"""Floating-point arithmetic with Go's results, bit by bit: divisions by zero, powers, extremes and sums.

NaN is one value here; its sign and payload carry no meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

_NAN = math.nan


def divide(left: float, right: float) -> float:
    """Quotient as IEEE 754 has it."""
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return _NAN
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: float, right: float) -> float:
    """Remainder with the sign of the dividend."""
    if right == 0 or math.isinf(left):
        return _NAN
    return math.fmod(left, right)


def power(base: float, exponent: float) -> float:
    """`base` to the `exponent` as Go's `math.Pow` computes it.

    Whole exponents are equal to the last bit: squared step by step, mantissa and exponent apart. The others go through
    exponential and logarithm, which Go computes in its own way; they are within one or two units in the last place.
    """
    if exponent == 0 or base == 1:
        return 1.0
    if exponent == 1 or math.isnan(base) or math.isnan(exponent):
        return base if exponent == 1 else _NAN
    if base == 0 or math.isinf(base) or math.isinf(exponent):
        return _power_at_the_edge(base, exponent)
    if exponent == 0.5:
        return math.sqrt(base) if base >= 0 else _NAN
    if exponent == -0.5:
        return 1 / math.sqrt(base) if base >= 0 else _NAN
    fraction, whole = math.modf(abs(exponent))
    if fraction and base < 0:
        return _NAN
    if whole >= 2**63:
        # Large whole exponents are even, so the sign is gone.
        if base == -1:
            return 1.0
        return 0.0 if (abs(base) < 1) == (exponent > 0) else math.inf
    result = 1.0
    if fraction:
        if fraction > 0.5:
            fraction -= 1
            whole += 1
        result = math.exp(fraction * math.log(base))
    return _by_squaring(result, base, int(whole), inverted=exponent < 0)


def _by_squaring(result: float, base: float, times: int, *, inverted: bool) -> float:
    mantissa, scale = math.frexp(base)
    result_scale = 0
    while times:
        if scale < -4096 or scale > 4096:
            # Further squares can only be more extreme.
            result_scale += scale
            break
        if times & 1:
            result *= mantissa
            result_scale += scale
        mantissa *= mantissa
        scale <<= 1
        if mantissa < 0.5:
            mantissa += mantissa
            scale -= 1
        times >>= 1
    if inverted:
        result, result_scale = 1 / result, -result_scale
    try:
        return math.ldexp(result, result_scale)
    except OverflowError:
        return math.copysign(math.inf, result)


def _power_at_the_edge(base: float, exponent: float) -> float:
    if math.isinf(exponent):
        if base == -1:
            return 1.0
        return math.inf if (abs(base) > 1) == (exponent > 0) else 0.0
    odd = math.isfinite(exponent) and abs(exponent) < 2**53 and exponent == int(exponent) and int(exponent) % 2 == 1
    size = math.inf if (base == 0) == (exponent < 0) else 0.0
    return math.copysign(size, base) if odd else size


def maximum(left: float, right: float) -> float:
    """The larger one; infinity beats NaN, NaN everything else."""
    if math.inf in (left, right):
        return math.inf
    if math.isnan(left) or math.isnan(right):
        return _NAN
    if left == 0 == right:
        return right if math.copysign(1.0, left) < 0 else left
    return max(left, right)


def minimum(left: float, right: float) -> float:
    """The smaller one; negative infinity beats NaN, NaN everything else."""
    return -maximum(-left, -right)


def kahan_sum(values: Iterable[float]) -> tuple[float, float]:
    """Sum and compensation by Kahan's method as improved by Neumaier; their sum is the result.

    An infinite sum has no compensation.
    """
    total = compensation = 0.0
    for value in values:
        new = total + value
        if abs(total) >= abs(value):
            compensation += (total - new) + value
        else:
            compensation += (value - new) + total
        total = new
    # A sum that was infinite on the way never becomes finite again, so one look at the end is enough.
    return total, 0.0 if math.isinf(total) else compensation


def mean(values: Sequence[float]) -> float:
    """The mean: the compensated sum divided, or, from where that would overflow, an incremental mean."""
    total, compensation = kahan_sum(values)
    if math.isfinite(total):
        return total / len(values) + compensation / len(values)
    return _mean_of_extremes(values)


def _mean_of_extremes(values: Sequence[float]) -> float:
    total = compensation = 0.0
    average: float | None = None
    count = 0
    for value in values:
        count += 1
        if count == 1:
            total = value
            continue
        if average is None:
            new, new_compensation = _add(value, total, compensation)
            if not math.isinf(new):
                total, compensation = new, new_compensation
                continue
            average, compensation = total / (count - 1), compensation / (count - 1)
        share = (count - 1) / count
        average, compensation = _add(value / count, share * average, share * compensation)
    return total / count + compensation / count if average is None else average + compensation


def _add(value: float, total: float, compensation: float) -> tuple[float, float]:
    new = total + value
    if math.isinf(new):
        return new, 0.0
    if abs(total) >= abs(value):
        return new, compensation + ((total - new) + value)
    return new, compensation + ((value - new) + total)


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": divide,
    "%": modulo,
    "^": power,
}

COMPARISON: dict[str, Callable[[float, float], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}
