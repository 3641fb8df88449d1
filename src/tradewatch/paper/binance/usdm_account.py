"""The USD-M perpetual: account, positions, their settings and incomes.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api and trade.
Times are simulated, in milliseconds.
"""

from __future__ import annotations

from tradewatch.paper.binance.parameters import Params, limit_of, millis, required, whole
from tradewatch.paper.binance.product import Done
from tradewatch.paper.errors import VenueError, mandatory
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.perpetual.account import Position, Wallet
from tradewatch.paper.units import ONE, show

_MOST_NOTIONAL = 1_000_000_000


def account(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v3/account and v2: totals, the margin's asset, positions with an amount or orders."""
    wallet, marks = exchange.wallet(account), exchange.marks()
    totals = _totals(wallet, marks)
    asset = {
        "asset": exchange.currency,
        "walletBalance": totals["totalWalletBalance"],
        "unrealizedProfit": totals["totalUnrealizedProfit"],
        "marginBalance": totals["totalMarginBalance"],
        "maintMargin": totals["totalMaintMargin"],
        "initialMargin": totals["totalInitialMargin"],
        "positionInitialMargin": totals["totalPositionInitialMargin"],
        "openOrderInitialMargin": totals["totalOpenOrderInitialMargin"],
        "crossWalletBalance": totals["totalCrossWalletBalance"],
        "crossUnPnl": totals["totalCrossUnPnl"],
        "availableBalance": totals["availableBalance"],
        "maxWithdrawAmount": totals["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": max(wallet.updated_ns, 1_000_000) // 1_000_000,
    }
    body = {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        **totals,
        "assets": [asset],
        "positions": [_risk(exchange, wallet, symbol, position) for symbol, position in wallet.held()],
    }
    return Done(body)


def balance(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v3/balance and v2."""
    wallet, marks = exchange.wallet(account), exchange.marks()
    totals = _totals(wallet, marks)
    row = {
        "accountAlias": "paper",
        "asset": exchange.currency,
        "balance": totals["totalWalletBalance"],
        "crossWalletBalance": totals["totalCrossWalletBalance"],
        "crossUnPnl": totals["totalCrossUnPnl"],
        "availableBalance": totals["availableBalance"],
        "maxWithdrawAmount": totals["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": max(wallet.updated_ns, 1_000_000) // 1_000_000,
    }
    return Done([row])


def position_risk(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v3/positionRisk and v2: positions that are not flat; of `symbol` also a flat one."""
    wallet = exchange.wallet(account)
    symbols = [symbol for symbol, _ in wallet.held()]
    if "symbol" in params:
        symbols = [exchange.market(params["symbol"]).instrument.id]
    return Done([_risk(exchange, wallet, symbol, wallet.position(symbol)) for symbol in symbols])


def set_leverage(exchange: Perpetual, account: str, params: Params) -> Done:
    """POST /fapi/v1/leverage."""
    symbol, leverage = required(params, "symbol"), whole(params, "leverage")
    if leverage is None:
        raise mandatory("leverage")
    exchange.set_leverage(account, symbol, leverage)
    return Done({"symbol": symbol, "leverage": leverage, "maxNotionalValue": str(_MOST_NOTIONAL)})


def set_margin_type(exchange: Perpetual, account: str, params: Params) -> Done:
    """POST /fapi/v1/marginType: -4046 if it is that already."""
    symbol, kind = required(params, "symbol"), required(params, "marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise VenueError(-4047, "Invalid marginType.")
    if not exchange.set_margin_type(account, symbol, "isolated" if kind == "ISOLATED" else "cross"):
        raise VenueError(-4046, "No need to change margin type.")
    return Done({"code": 200, "msg": "success"})


def position_mode(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/positionSide/dual: always one-way."""
    return Done({"dualSidePosition": False})


def set_position_mode(exchange: Perpetual, account: str, params: Params) -> Done:
    """POST /fapi/v1/positionSide/dual: one-way is set already, hedge mode is not there."""
    if required(params, "dualSidePosition").lower() == "true":
        raise VenueError(-4068, "Position side cannot be changed: the paper exchange has one-way positions.")
    raise VenueError(-4059, "No need to change position side.")


def leverage_bracket(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/leverageBracket: one tier."""
    bracket = {
        "bracket": 1,
        "initialLeverage": exchange.terms.max_leverage,
        "notionalCap": _MOST_NOTIONAL,
        "notionalFloor": 0,
        "maintMarginRatio": exchange.terms.maintenance / ONE,
        "cum": 0.0,
    }
    symbols = [exchange.market(params["symbol"]).instrument.id] if "symbol" in params else list(exchange.markets)
    return Done([{"symbol": symbol, "brackets": [bracket]} for symbol in symbols])


def symbol_config(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/symbolConfig."""
    wallet = exchange.wallet(account)
    symbols = [exchange.market(params["symbol"]).instrument.id] if "symbol" in params else list(exchange.markets)
    return Done(
        [
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if wallet.position(symbol).margin_type == "isolated" else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": wallet.position(symbol).leverage,
                "maxNotionalValue": str(_MOST_NOTIONAL),
            }
            for symbol in symbols
        ]
    )


def commission_rate(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/commissionRate."""
    symbol = exchange.market(required(params, "symbol")).instrument.id
    rates = {"makerCommissionRate": show(exchange.terms.maker), "takerCommissionRate": show(exchange.terms.taker)}
    return Done({"symbol": symbol, **rates})


def income(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/income, oldest first, by `symbol`, `incomeType` and time."""
    start_ns, end_ns = millis(params, "startTime") or 0, millis(params, "endTime") or 1 << 63
    found = [
        {
            "symbol": one.symbol,
            "incomeType": one.kind,
            "income": show(one.amount),
            "asset": exchange.currency,
            "info": one.kind if one.trade_id is None else str(one.trade_id),
            "time": one.at_ns // 1_000_000,
            "tranId": one.income_id,
            "tradeId": "" if one.trade_id is None else str(one.trade_id),
        }
        for one in exchange.wallet(account).incomes
        if params.get("symbol") in (None, "", one.symbol)
        and params.get("incomeType") in (None, "", one.kind)
        and start_ns <= one.at_ns < end_ns + 1_000_000
    ]
    return Done(found[-limit_of(params, 100, 1000) :])


def _totals(wallet: Wallet, marks: dict[str, int]) -> dict[str, object]:
    unrealised, orders = wallet.unrealised(marks), wallet.order_margin()
    positions = sum(wallet.position_margin(symbol, marks) for symbol, _ in wallet.held())
    maintenance = wallet.maintenance(marks, "cross") + wallet.maintenance(marks, "isolated")
    return {
        "totalInitialMargin": show(positions + orders),
        "totalMaintMargin": show(maintenance),
        "totalWalletBalance": show(wallet.balance),
        "totalUnrealizedProfit": show(unrealised),
        "totalMarginBalance": show(wallet.balance + unrealised),
        "totalPositionInitialMargin": show(positions),
        "totalOpenOrderInitialMargin": show(orders),
        "totalCrossWalletBalance": show(wallet.cross_balance),
        "totalCrossUnPnl": show(wallet.unrealised(marks, "cross")),
        "availableBalance": show(wallet.available(marks)),
        "maxWithdrawAmount": show(min(wallet.available(marks), max(wallet.balance, 0))),
    }


def _risk(exchange: Perpetual, wallet: Wallet, symbol: str, position: Position) -> dict[str, object]:
    marks = exchange.marks()
    mark, sign = marks[symbol], -1 if position.amount < 0 else 1
    notional = position.notional(mark)
    isolated = position.margin_type == "isolated"
    margin = position.isolated + position.unrealised(mark) if isolated else 0
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": show(position.amount),
        "entryPrice": show(position.entry_price),
        "breakEvenPrice": show(position.entry_price),
        "markPrice": show(mark),
        "unRealizedProfit": show(position.unrealised(mark)),
        "unrealizedProfit": show(position.unrealised(mark)),
        "liquidationPrice": show(wallet.liquidation_price(symbol, marks)),
        "leverage": str(position.leverage),
        "marginType": position.margin_type,
        "isolated": isolated,
        "isolatedMargin": show(margin),
        "isolatedWallet": show(position.isolated),
        "isAutoAddMargin": "false",
        "notional": show(sign * notional),
        "maxNotionalValue": str(_MOST_NOTIONAL),
        "marginAsset": exchange.currency,
        "initialMargin": show(wallet.position_margin(symbol, marks) + wallet.order_margin(symbol)),
        "positionInitialMargin": show(wallet.position_margin(symbol, marks)),
        "openOrderInitialMargin": show(wallet.order_margin(symbol)),
        "maintMargin": show(notional * wallet.terms.maintenance // ONE),
        "adl": 0,
        "bidNotional": show(0),
        "askNotional": show(0),
        "updateTime": position.updated_ns // 1_000_000,
    }
