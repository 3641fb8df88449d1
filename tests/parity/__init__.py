"""The same calls, watched by tradewatch and written down by hand: what both ways tell must be equal.

Stands on the SDK, ccxt and aiohttp alone, so that it also runs in environments with other versions of the SDK
(`python -m parity`). `naive` is the reference, `trading` the calls, `traces` and `points` what is compared.
"""
