"""The benchmark: what a step costs here, against memory, plain NumPy and the peers installed.

``python -m fastopt bench`` runs it. :mod:`fastopt.bench.rules` and :mod:`fastopt.bench.workloads`
say what is measured, :mod:`fastopt.bench.measure` how, :mod:`fastopt.bench.peers` against whom.
"""
