"""Word vectors (skip-gram with negative samples), in Cython and in plain NumPy."""
