"""A client of Kraken's REST protocol that puts requests straight to a wire, and a real clock for the wire."""

import base64
import hashlib
import hmac
import json
from urllib.parse import urlencode

from tradewatch.paper.requests import Request

WALL_S = 1_700_000_000
SECRET = base64.b64encode(b"paper-secret").decode()


class Wall:
    """A real clock set by hand."""

    def __init__(self):
        self.s = float(WALL_S)

    def __call__(self):
        return int(self.s * 10**9)


class Client:
    """Signs as Kraken's documentation says, with a nonce that counts up."""

    def __init__(self, wire):
        self.wire = wire
        self.nonce = 1_000

    def request(self, method, *, key="paper-key", secret=SECRET, nonce=None, json_body=None, **params):
        self.nonce += 1
        nonce = self.nonce if nonce is None else nonce
        path = f"/0/private/{method}"
        body = json.dumps({"nonce": str(nonce), **json_body}) if json_body else urlencode({"nonce": nonce, **params})
        digest = hashlib.sha256((str(nonce) + body).encode()).digest()
        signed = hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
        headers = {"api-key": key, "api-sign": base64.b64encode(signed).decode()}
        return Request("POST", path, "", body, headers)

    def __call__(self, method, **params):
        answer = self.wire.answer(self.request(method, **params))
        assert answer.status == 200
        body = json.loads(answer.body)
        return body["error"][0] if body["error"] else body["result"]

    def public(self, method, **params):
        body = json.loads(self.wire.answer(Request("GET", f"/0/public/{method}", urlencode(params))).body)
        return body["error"][0] if body["error"] else body["result"]
