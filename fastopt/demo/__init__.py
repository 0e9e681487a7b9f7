"""The demo: a network learns handwritten digits, once with the kernels and once with plain NumPy.

``python -m fastopt demo`` runs it. What is worth reading first is :mod:`fastopt.demo.network`, the
mathematics of the network, and :mod:`fastopt.demo.train`, the loop that an optimizer step lives in.
"""
