"""The USD-M perpetual: the answers about the market that spot does not have, or has otherwise.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api. Times are
simulated, in milliseconds.
"""

from __future__ import annotations

from tradewatch.paper.binance.parameters import Params, limit_of, millis
from tradewatch.paper.binance.product import Told
from tradewatch.paper.binance.public import chosen, day_of, each, levels, market_of, update_id
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.units import ONE, show

ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
_NEVER_DELIVERED_MS = 4_133_404_800_000
_OF_SPOT_ALONE = ("prevClosePrice", "bidPrice", "bidQty", "askPrice", "askQty")


def exchange_info(exchange: Perpetual, params: Params, limits: list[dict[str, object]], wall_ms: int) -> object:
    """GET /fapi/v1/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": wall_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": [{"asset": exchange.currency, "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [_symbol(exchange, market) for market in chosen(exchange, params)],
    }


def depth(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/depth."""
    market = market_of(exchange, params)
    quote, at_ms = exchange.told(market), exchange.now_ns // 1_000_000
    bids, asks = levels(market, quote, limit_of(params, 500, 1000))
    body = {"lastUpdateId": update_id(exchange.now_ns), "E": at_ms, "T": at_ms, "bids": bids, "asks": asks}
    return body, {market.instrument.id: quote}


def ticker_24hr(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/ticker/24hr: as spot's without the best prices."""

    def render(market: Market, quote: Quote) -> dict[str, object]:
        return {name: value for name, value in day_of(market, quote).items() if name not in _OF_SPOT_ALONE}

    return each(exchange, params, render)


def ticker_price(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v2/ticker/price."""
    at_ms = exchange.now_ns // 1_000_000
    return each(
        exchange,
        params,
        lambda market, quote: {"symbol": market.instrument.id, "price": show(quote.mid), "time": at_ms},
    )


def book_ticker(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/ticker/bookTicker."""

    def render(market: Market, quote: Quote) -> dict[str, object]:
        size = show(quote.size)
        return {
            "symbol": market.instrument.id,
            "bidPrice": show(quote.bid),
            "bidQty": size,
            "askPrice": show(quote.ask),
            "askQty": size,
            "time": quote.at_ns // 1_000_000,
            "lastUpdateId": update_id(quote.at_ns),
        }

    return each(exchange, params, render)


def premium_index(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/premiumIndex: mark and index are the mid."""

    def render(market: Market, quote: Quote) -> dict[str, object]:
        return {
            "symbol": market.instrument.id,
            "markPrice": show(quote.mid),
            "indexPrice": show(quote.mid),
            "estimatedSettlePrice": show(quote.mid),
            "lastFundingRate": show(exchange.funding_rate),
            "interestRate": show(ONE // 10_000),
            "nextFundingTime": exchange.next_funding_ns // 1_000_000,
            "time": quote.at_ns // 1_000_000,
        }

    return each(exchange, params, render)


def funding_rate(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/fundingRate: what has been paid, oldest first."""
    start_ns, end_ns = millis(params, "startTime") or 0, millis(params, "endTime") or 1 << 63
    rows = [
        {
            "symbol": market.instrument.id,
            "fundingRate": show(exchange.funding_rate),
            "fundingTime": at_ns // 1_000_000,
            "markPrice": show(marks[market.instrument.id]),
        }
        for at_ns, marks in exchange.funded
        for market in chosen(exchange, params)
        if start_ns <= at_ns <= end_ns
    ]
    return rows[-limit_of(params, 100, 1000) :], {}


def funding_info(exchange: Perpetual, params: Params) -> Told:
    """GET /fapi/v1/fundingInfo."""
    hours = exchange.terms.funding_interval_ns // (3_600 * 10**9)
    cap = {"adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"}
    return [{"symbol": symbol, **cap, "fundingIntervalHours": hours} for symbol in exchange.markets], {}


def _symbol(exchange: Perpetual, market: Market) -> dict[str, object]:
    instrument = market.instrument
    return {
        "symbol": instrument.id,
        "pair": instrument.id,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_DELIVERED_MS,
        "onboardDate": market.candles.start_ns // 1_000_000,
        "status": "TRADING" if exchange.now_ns < market.end_ns else "SETTLING",
        "maintMarginPercent": show(exchange.terms.maintenance * 100),
        "requiredMarginPercent": show(ONE * 100 // exchange.terms.max_leverage),
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": _places(instrument.tick),
        "quantityPrecision": _places(instrument.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": show(exchange.terms.clearance),
        "marketTakeBound": "0.05",
        "filters": _filters(instrument),
        "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _filters(instrument: Instrument) -> list[dict[str, object]]:
    lot = {
        "minQty": show(instrument.step),
        "maxQty": show(instrument.max_quantity),
        "stepSize": show(instrument.step),
    }
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": show(instrument.tick),
            "maxPrice": show(instrument.max_price),
            "tickSize": show(instrument.tick),
        },
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": show(instrument.min_notional)},
    ]


def _places(step: int) -> int:
    return len(show(step).rstrip("0").partition(".")[2])
