"""How fast the kernels are: layers of real networks, timed beside other libraries, each in a process of its own.

Not installed; `make bench` and `tools/bench.py` run it, `benchmarks/README.md` says how things are measured.
"""
