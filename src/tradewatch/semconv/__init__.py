"""The only place with names: attributes and metrics, each with unit and meaning, and how Prometheus spells them.

`docs/semantic-conventions.md` is generated from here: `python -m tradewatch.semconv > docs/semantic-conventions.md`.
"""

from tradewatch.semconv.attributes import ATTRIBUTES, Attribute
from tradewatch.semconv.metrics import METRICS, Metric
from tradewatch.semconv.reading import Reading

__all__ = ["ATTRIBUTES", "METRICS", "Attribute", "Metric", "Reading"]
