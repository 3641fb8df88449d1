"""Statuses of an invented bot, for looking at views of them."""

from datetime import UTC, date, datetime
from decimal import Decimal as Dec

import pytest

import tradewatch
from tradewatch.breaker import Status as BreakerStatus
from tradewatch.model import Alert, Equity, Evidence, Rule
from tradewatch.portfolio import PortfolioSnapshot, readings
from tradewatch.rules import RuleStatus
from tradewatch.status import Client, Operation, RateLimit, Telemetry, Venue

NOW_NS = int(datetime(2023, 3, 3, 1, 31, 42, tzinfo=UTC).timestamp()) * 10**9
SINCE_NS = NOW_NS - 2_502 * 10**9


def rule(name, state, *, action="notify", value=None, error=None, summary=""):
    made = Rule(name, "up == 0", 0.0, (), (), action, "group", "default.yaml", 1)
    labels, annotations = (("instance", "5f0c"),), (("summary", summary),)
    alerts = (Alert(name, labels, annotations, "firing", value or 0.0, NOW_NS),) if state == "firing" else ()
    return RuleStatus(made, state, alerts, value, NOW_NS, 0.0001, error)


def breaker(**changes):
    fields = {
        "state": "ACTIVE", "by": "start", "reason": "a clean start", "evidence": (), "since_ns": SINCE_NS,
        "confirmed": True, "not_confirmed": None, "further": (), "unknown": (), "in_flight": 0, "refused": 0,
        "forgotten": 0, "trips": 0, "note": None, "confirmed_ns": None, "first_refused_ns": None,
    }  # fmt: skip
    return BreakerStatus(**fields | changes)


def portfolio(**changes):
    total = readings.Total
    position = readings.PositionReading(
        "main", "BTC/USDT", "USDT", Dec("1.013564"), Dec("23728.1"), Dec("1.013564"), Dec("23410.57"), Dec("-23.67"),
        Dec("-1118.21"), "mark", Dec("22301.53"), False,
    )  # fmt: skip
    fields = {
        "at_ns": NOW_NS, "currency": "USDT", "positions": (position,),
        "realized": (total("main", "USDT", Dec("-23.67")),),
        "unrealized": (total("main", "USDT", Dec("-1118.21")),),
        "fees": (total("main", "BTC", Dec("0.000076")), total("main", "USDT", Dec("1.4382967"))),
        "equity": Equity(Dec("23286.92"), "USDT", (), NOW_NS), "unvalued": (),
        "day_start": readings.DayStart(date(2023, 3, 3), Dec("24430.73"), "USDT", Dec("24430.73")),
        "peak": readings.Peak(Dec("24432"), "USDT", SINCE_NS), "daily_pnl": Dec("-513.05"),
        "daily_loss_ratio": Dec("0.021"),
        "drawdown_ratio": Dec("0.0469"), "unvalued_fees": (), "corrections": (), "corrections_total": 0,
        "refused_fills": 0, "refused_marks": 0, "incomplete": (), "fills": 28, "counts": (), "flows": (),
    }  # fmt: skip
    return PortfolioSnapshot(**fields | changes)


RULES = (
    rule("DailyLoss", "inactive", action="halt"), rule("Drawdown", "inactive", action="halt"),
    rule("ExchangeErrorRate", "inactive"), rule("StaleEquity", "warming"),
)  # fmt: skip
EVIDENCE = (
    Evidence("1 - trading_portfolio_equity / (trading_portfolio_day_start > 0)", 0.0333, NOW_NS),
    Evidence('trading_portfolio_equity{trading_currency="USDT"}', 23616.6239045, NOW_NS),
    Evidence('trading_portfolio_day_start{trading_currency="USDT"}', 24430.73, NOW_NS),
    Evidence('tradewatch_limit{limit="daily_loss"}', 0.03, NOW_NS),
)
REASON = "MarketMaker lost 3.33% today, beyond the limit daily_loss"


class Made:
    """Makes statuses and their parts."""

    portfolio, breaker, rule = staticmethod(portfolio), staticmethod(breaker), staticmethod(rule)
    telemetry = Telemetry("http://127.0.0.1:9464/metrics", True, "tradewatch", 0, 0, (), {}, ())

    @staticmethod
    def status(**changes):
        fields = {
            "bot": "MarketMaker", "at_ns": NOW_NS, "since_ns": SINCE_NS,
            "clients": (Client("bot.exchange", "ccxt.async_support.binance.binance", "binance"),),
            "operations": (
                Operation("binance", "fetch_ticker", 96, 0, 0.0231, 0.197, 0.239),
                Operation("binance", "create_order", 51, 4, 0.0013, 1.65, 7.5),
                Operation("binance", "fetch_balance", 1, 0, None, None, None),
            ),
            "venues": (Venue("binance", (RateLimit("api_weight_1m", 212, 6000, 5788),), None, 0.004, 0.011),),
            "attempts": 152, "retries": 2, "throttle_s": 1.25,
            "orders": {"open": 31, "filled": 16}, "errors": {"OrderNotFound": 4}, "portfolio": portfolio(),
            "limits": {"daily_loss": 0.03, "drawdown": 0.1}, "rules": RULES, "breaker": breaker(),
            "settings": (), "configured_ns": None,
            "overhead_cpu": 0.053, "telemetry": Made.telemetry, "failures": {}, "safety_alive": True,
            "service_alive": True, "state_folder": "/state", "notes": (),
        }  # fmt: skip
        return tradewatch.Status(**fields | changes)

    @staticmethod
    def halted(**changes):
        fired = rule("DailyLoss", "firing", action="halt", value=0.0333, summary=REASON)
        halt = breaker(
            state="HALTED",
            by="DailyLoss",
            reason=REASON,
            evidence=EVIDENCE,
            since_ns=NOW_NS - 3 * 10**9,
            refused=5,
            trips=1,
        )
        loss = portfolio(daily_pnl=Dec("-1143.81"), daily_loss_ratio=Dec("0.0468"))
        orders = {"open": 31, "filled": 16, "refused": 5}
        parts = {"breaker": halt, "rules": (fired, *RULES[1:]), "portfolio": loss, "orders": orders}
        return Made.status(**parts | changes)

    @staticmethod
    def unknown(**changes):
        nothing = portfolio(
            currency=None, positions=(), realized=(), unrealized=(), fees=(), day_start=None, peak=None, daily_pnl=None,
            equity=Equity(None, None, ("no balances yet",), NOW_NS),
            daily_loss_ratio=None, drawdown_ratio=None, fills=0,
        )  # fmt: skip
        parts = {"portfolio": nothing, "operations": (), "orders": {}, "errors": {}, "overhead_cpu": None}
        return Made.status(**parts | changes)


@pytest.fixture
def made():
    return Made
