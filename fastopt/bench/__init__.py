"""The benchmark: what steps and dropout cost here, against memory, plain NumPy and other libraries.

``python -m fastopt bench`` runs it. :mod:`fastopt.bench.rules` and :mod:`fastopt.bench.workloads`
say what is measured, :mod:`fastopt.bench.measure` how, :mod:`fastopt.bench.peers` against whom.
"""
