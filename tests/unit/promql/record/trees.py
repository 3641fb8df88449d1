"""Texts with Prometheus's syntax tree or error."""

from grammar import Grammar
from oracle import HERE, ask, write


def expressions():
    """Everything that the parser is asked, each text once."""
    written = (HERE / "expressions.txt").read_text(encoding="utf-8").split("\n")[1:]
    several_lines = [
        "foo\n+\n  bar{\n",
        "sum(\n  foo # one\n) # two\nby (a)\n+ +",
        "1 +\r\n\t2",
        "foo{a=`\n`}",
        'foo{a="\n"}',
    ]
    grammar = Grammar(20261121)
    generated = [grammar.expr(grammar.random.randrange(1, 5)) for _ in range(2500)]
    mutated = [grammar.mutated(grammar.some(generated + written)) for _ in range(3500)]
    return list(dict.fromkeys(text for text in (*written, *several_lines, *generated, *mutated) if len(text) < 300))


def record_trees():
    """`data/trees.json.gz`: texts with Prometheus's tree or error."""
    texts = expressions()
    write("trees.json.gz", list(zip(texts, ask("parse", texts), strict=True)))
