"""What tradewatch costs, measured beside what else there is: `python -m benchmarks --help`.

A file measures one thing and is a program too (`python -m benchmarks.call --quick`). What they share: `figures.py`
(what was found, and the table of it), `turns.py` (ways that take turns), `ways.py` (the ways that are compared),
`processes.py` (a collector, a venue, and a bot of each way, in processes of their own).
"""
