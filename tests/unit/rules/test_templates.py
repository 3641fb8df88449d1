from __future__ import annotations

import json
from pathlib import Path

import pytest

from tradewatch.rules.templates import ACCEPTED, TemplateError, parse

# What Prometheus 3.15's own `template` package made of each text and value.
PROMETHEUS = json.loads((Path(__file__).parent / "data" / "templates.json").read_text())


@pytest.mark.parametrize("text", PROMETHEUS["expanded"])
def test_a_template_gives_what_prometheus_gives(text):
    template = parse(text)
    for value, wanted in PROMETHEUS["expanded"][text].items():
        assert template.expand(float(value), PROMETHEUS["labels"], PROMETHEUS["external"], "Alert") == wanted, value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ or $labels.none $labels.also_none $labels.job }}", "bots"),
        ("{{ or $labels.job $labels.none }}", "bots"),
        ("{{ or $labels.none $labels.also_none }}", ""),
        ('{{ or $labels.none $labels.job | printf "%s!" }}', "bots!"),
        ("{{ or $labels.none $value $labels.job }}", "3"),
        ("{{ $labels.job | or $labels.none }}", "bots"),
        ("{{ or $labels.job (humanize $labels.job) }}", "bots"),
    ],
)
def test_or_gives_the_first_that_is_not_empty(text, wanted):
    """As Go's text/template has it: the later ones are not looked at."""
    assert parse(text).expand(3.0, {"job": "bots"}, {}, "Alert") == wanted


@pytest.mark.parametrize(
    ("text", "offset", "found", "accepted"),
    [
        ("{{ if $value }}", 3, "'if' in a template, which is not supported yet", ACCEPTED),
        ("{{ $labels }}", 3, "'$labels' in a template", ACCEPTED),
        ("{{ . }}", 3, "'.' in a template", ACCEPTED),
        ("ab {{ $value", 3, "'{{' without '}}'", "'{{' and '}}' in pairs"),
        ('{{ query "up" }}', 3, "the function 'query', which is unknown or not supported yet", ACCEPTED),
        ("{{ $value | title }}", 12, "the function 'title', which is unknown or not supported yet", ACCEPTED),
        (
            '{{ printf "%x" $value }}',
            3,
            "'%x' in the format '%x'",
            "%f %g %e %d %s %v with width and precision, and %%",
        ),
        ('{{ printf "%.2f" }}', 3, "0 values for the format '%.2f'", "1, one for each verb"),
        ('{{ printf "%.2f" $value $value }}', 3, "2 values for the format '%.2f'", "1, one for each verb"),
        ("{{ printf $value }}", 3, "printf without a format in quotes", 'printf "%.2f" and its values'),
        ("{{ $labels.x.y }}", 3, "'$labels.x.y' in a template", ACCEPTED),
        ("{{ $labels.x-y }}", 12, "'-' right after '$labels.x'", "a space between the two"),
        ("{{}}", 2, "no value in a template", ACCEPTED),
        ("{{ $value $value }}", 10, "'$value' in a template", "'}}' after the value"),
        ("{{ $value | $value }}", 12, "'$value' after '|'", "a function after '|'"),
        ("{{ $value | }}", 12, "'}}' after '|'", "a function after '|'"),
        ("{{ ($value }}", 11, "'}}' in a template", "')' after the value"),
        ("{{ humanize }}", 3, "humanize with 0 values", "humanize with one value"),
        ("{{ $value | humanize $value }}", 12, "humanize with 2 values", "humanize with one value"),
        ("{{ or }}", 3, "or without a value", "or with one value or more"),
        ("{{ 3 }}", 3, "'3' in a template", ACCEPTED),
        ("{{ $x := $value }}", 3, "'$x' in a template", ACCEPTED),
        ("{{/* a comment that does not end }}", 2, "'/' in a template", ACCEPTED),
        ('{{ "\\x41" }}', 4, "the escape '\\\\x'", 'the escapes \\n \\t \\r \\" \\\\'),
        ("{{ $externalURL }}", 3, "'$externalURL' in a template", ACCEPTED),
        (
            "{{ " + "(" * 40 + "$value" + ")" * 40 + " }}",
            35,
            "a template that goes on",
            "at most 32 values and functions",
        ),
        ("{{ $value" + " | humanize" * 40 + " }}", 353, "a template that goes on", "at most 32 values and functions"),
    ],
)
def test_what_is_not_supported_is_refused_by_name_and_position(text, offset, found, accepted):
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert (caught.value.offset, caught.value.found, caught.value.accepted) == (offset, found, accepted)


def test_text_without_templates_stays_as_it_is():
    assert parse("a }} b { {").expand(1.0, {}, {}, "A") == "a }} b { {"
