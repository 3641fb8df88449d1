"""How client libraries are seen: tables of wrap points, two wrappers (sync and async), and undo.

`patch` replaces attributes and puts them back, `discovery` finds clients on a bot, and each client library has a folder
of its own that knows that library and nothing of telemetry's insides.
"""
