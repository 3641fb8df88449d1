"""Injected faults in Binance's words."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper.faults import Fault
from tradewatch.paper.requests import Answer, gateway_page

_CODE_MESSAGES = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
}


def faulted(fault: Fault, operation: str, headers: Mapping[str, str]) -> Answer:
    """The answer to a request that an injected fault befell; `headers` are those of every answer."""
    if fault.kind == "server_error":
        if not isinstance(fault.code, int):
            return gateway_page(fault.status, operation, headers)
        message = _CODE_MESSAGES.get(fault.code, "Error.")
        return Answer(fault.status, _body(fault.code, message), headers, operation, code=fault.code)
    if fault.kind == "nonce":
        message = "Timestamp for this request is outside of the recvWindow."
        return Answer(400, _body(-1021, message), headers, operation, code=-1021)
    if fault.kind == "maintenance":
        return Answer(503, _body(1, "System is under maintenance."), headers, operation, code=1)
    status, message = 429, "Too many requests queued."
    if fault.kind == "ban":
        status = 418
        message = (
            "Way too much request weight used; IP banned. Please use WebSocket Streams for live updates to avoid bans."
        )
    headers = {**headers, "Retry-After": str(fault.retry_after_s)}
    return Answer(status, _body(-1003, message), headers, operation, code=-1003)


def _body(code: int, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message})


def ws_error(fault: Fault) -> tuple[int, str, int]:
    """Code, words and status of the same over a websocket."""
    if fault.kind == "server_error":
        code = fault.code if isinstance(fault.code, int) else -1000
        return code, _CODE_MESSAGES.get(code, "Error."), fault.status
    answer = faulted(fault, "", {})
    said = msgspec.json.decode(answer.body)
    return said["code"], said["msg"], answer.status
