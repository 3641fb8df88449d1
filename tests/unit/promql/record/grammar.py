"""Random expressions of PromQL."""

import random


class Grammar:
    """Random expressions: well-formed by grammar, often wrong by type."""

    METRICS = ("foo", "bar:baz", "up", "sum", "start", "x_total", "offset")
    LABELS = ("a", "b", "job", "instance", "on", "le", '"c d"')
    BINARY = ("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless", "atan2")
    AGGREGATIONS = ("sum", "min", "max", "avg", "count", "group", "stddev")
    RANGE = ("rate", "increase", "avg_over_time", "max_over_time", "last_over_time", "delta", "absent_over_time")
    VECTOR = ("abs", "absent", "ceil", "scalar", "vector", "timestamp", "sort", "hour")

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, choices):
        return self.random.choice(choices)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def expr(self, depth):
        if depth <= 0:
            return (
                self.some((self.selector, self.selector, self.number, self.string))() if self.chance(90) else "time()"
            )
        kind = self.random.randrange(9)
        if kind < 3:
            return f"{self.expr(depth - 1)} {self.some(self.BINARY)}{self.modifiers()} {self.expr(depth - 1)}"
        if kind == 3:
            return f"({self.expr(depth - 1)})"
        if kind == 4:
            return f"{self.some('+-')}{self.expr(depth - 1)}"
        if kind == 5:
            return self.aggregate(depth)
        if kind == 6:
            return f"{self.some(self.RANGE)}({self.ranged()})"
        if kind == 7:
            return f"{self.some(self.VECTOR)}({self.expr(depth - 1)})"
        return f"{self.expr(depth - 1)}{self.postfix()}"

    def modifiers(self):
        text = " bool" if self.chance(15) else ""
        if self.chance(35):
            text += f" {self.some(('on', 'ignoring'))} {self.labels()}"
            if self.chance(40):
                text += f" {self.some(('group_left', 'group_right'))}" + (self.labels() if self.chance(60) else "")
        return text

    def labels(self):
        return "(" + ", ".join(self.some(self.LABELS) for _ in range(self.random.randrange(3))) + ")"

    def aggregate(self, depth):
        op, inner = self.some(self.AGGREGATIONS), self.expr(depth - 1)
        grouping = f"{self.some(('by', 'without'))} {self.labels()}"
        if self.chance(10):
            op, inner = "topk", f"3, {inner}"
        return self.some((f"{op}({inner})", f"{op} {grouping} ({inner})", f"{op}({inner}) {grouping}"))

    def ranged(self):
        text = f"{self.selector()}[{self.duration()}]"
        return text + (f" offset {self.duration()}" if self.chance(20) else "")

    def duration(self):
        return self.some(("5m", "1h30m", "90", "1d", "30s", "0.5", "1m30s", "100ms"))

    def postfix(self):
        return self.some(
            (
                f" offset {self.duration()}",
                f" offset -{self.duration()}",
                f"[{self.duration()}:30s]",
                " @ 100",
                " @ end()",
                "[5m]",
            )
        )

    def number(self):
        return self.some(("1", "0", "-2.5", "1e3", "0x1F", "Inf", "NaN", "5m", ".5", "017", "1_000"))

    def string(self):
        return self.some(('"a"', "'b\\n'", "`c\\d`", '"ü"'))

    def selector(self):
        if self.chance(55):
            return self.some(self.METRICS)
        matchers = []
        for _ in range(self.random.randrange(3)):
            value = self.some(('"b"', '""', '".+"', '"a|b"', "'5..'", '"[^x]*"', '"(?i)x"', "`\\d+`"))
            matchers.append(self.some(self.LABELS) + self.some(("=", "!=", "=~", "!~")) + value)
        return (self.some(self.METRICS) if self.chance(80) else "") + "{" + ",".join(matchers) + "}"

    def mutated(self, text):
        """The text with a piece lost, doubled, moved or replaced."""
        for _ in range(self.random.randrange(1, 3)):
            at = self.random.randrange(len(text) + 1)
            end = min(len(text), at + self.random.randrange(1, 4))
            piece = self.some(
                (
                    *"(){}[],:+-*/^=!<>@\"'` \n#5ea_.",
                    "by",
                    "on",
                    "bool",
                    "offset",
                    "5m",
                    "start()",
                    "=~",
                    "group_left",
                    "ü",
                )
            )
            text = self.some(
                (
                    text[:at] + text[end:],
                    text[:at] + piece + text[at:],
                    text[:at] + piece + text[end:],
                    text[:end] + text[at:],
                )
            )
        return text
