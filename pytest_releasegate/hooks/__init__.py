"""The pytest side, one feature a file: they ask, collect, look, record and show, and decide nothing."""
