"""Binance: deposits and withdrawals that the control path made. Times in the answers are simulated.

Source: https://developers.binance.com/docs/wallet/capital/deposite-history and withdraw-history.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from tradewatch.paper.accounts import Transfer
from tradewatch.paper.binance.parameters import Params, limit_of, millis, whole
from tradewatch.paper.binance.product import Done
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.units import show

_SUCCESS = {"deposit": 1, "withdrawal": 6}


def deposits(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /sapi/v1/capital/deposit/hisrec, newest first."""
    body = [
        {
            "id": str(transfer.transfer_id),
            "amount": show(transfer.amount),
            "coin": transfer.currency,
            "network": transfer.currency,
            "status": _SUCCESS["deposit"],
            "address": f"paper-address-{transfer.currency}",
            "addressTag": "",
            "txId": f"paper-{transfer.transfer_id}",
            "insertTime": transfer.at_ns // 1_000_000,
            "transferType": 0,
            "confirmTimes": "1/1",
            "unlockConfirm": 1,
            "walletType": 0,
        }
        for transfer in _chosen(exchange, account, params, "deposit")
    ]
    return Done(body)


def withdrawals(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /sapi/v1/capital/withdraw/history, newest first."""
    body = [
        {
            "id": str(transfer.transfer_id),
            "amount": show(transfer.amount),
            "transactionFee": show(transfer.fee),
            "coin": transfer.currency,
            "status": _SUCCESS["withdrawal"],
            "address": f"paper-address-{transfer.currency}",
            "txId": f"paper-{transfer.transfer_id}",
            "applyTime": _second(transfer.at_ns),
            "network": transfer.currency,
            "transferType": 0,
            "info": "",
            "confirmNo": 1,
            "walletType": 0,
            "txKey": "",
            "completeTime": _second(transfer.at_ns),
        }
        for transfer in _chosen(exchange, account, params, "withdrawal")
    ]
    return Done(body)


def _chosen(exchange: Exchange, account: str, params: Params, kind: Literal["deposit", "withdrawal"]) -> list[Transfer]:
    start_ns, end_ns = millis(params, "startTime") or 0, millis(params, "endTime") or 1 << 63
    found = [
        transfer
        for transfer in reversed(exchange.transfers(account))
        if transfer.kind == kind
        and params.get("coin") in (None, "", transfer.currency)
        and start_ns <= transfer.at_ns < end_ns + 1_000_000
    ]
    offset = whole(params, "offset") or 0
    status = whole(params, "status")
    return found[offset : offset + limit_of(params, 1000, 1000)] if status in (None, _SUCCESS[kind]) else []


def _second(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")
