"""The extension; everything else stands in pyproject.toml."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastopt

# What the NumPy version computes has no fused multiplications.
flags = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]

setup(
    ext_modules=cythonize(
        Extension(
            "word_vectors.in_cython",
            ["word_vectors/in_cython.pyx"],
            include_dirs=[fastopt.get_include()],
            extra_compile_args=flags,
        )
    )
)
