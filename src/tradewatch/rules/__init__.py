"""Rules that read aggregated readings in the bot's own process: files, alert states, templates, limits and the engine.

A rule file is Prometheus's own format with stock semantics, so that the same file is right here and there; what firing
does is the annotation `action`.
"""

from tradewatch.rules.engine import Engine
from tradewatch.rules.files import AlertingRule, Group, RuleFileError, default_groups, load, load_files, loads
from tradewatch.rules.limits import LIMITS, Limit, limit_values, read_limits
from tradewatch.rules.schedule import RuleStatus

__all__ = [
    "LIMITS",
    "AlertingRule",
    "Engine",
    "Group",
    "Limit",
    "RuleFileError",
    "RuleStatus",
    "default_groups",
    "limit_values",
    "load",
    "load_files",
    "loads",
    "read_limits",
]
