"""Records what Prometheus answers, for the tests to compare with; see ../data/README.md."""

from matches import record_matches
from trees import record_trees
from values import record_values

if __name__ == "__main__":
    record_trees()
    record_matches()
    record_values()
