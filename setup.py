"""Build of the C++ core; everything else about the package stands in pyproject.toml."""

import sys
from glob import glob

import numpy
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

# The promises rest on these flags. Without the first two, loops with a square root or a mask stay
# scalar; without the third, compilers fuse multiplications with additions where the processor can,
# and instruction sets disagree in the last bit.
GCC_FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
]
MSVC_FLAGS = ["/O2", "/fp:precise"]

ParallelCompile("FASTOPT_BUILD_JOBS", default=0).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "fastopt._core",
            sorted(glob("csrc/**/*.cpp", recursive=True)),
            depends=sorted(
                glob("csrc/**/*.hpp", recursive=True) + glob("csrc/**/*.inl", recursive=True)
            ),
            include_dirs=[numpy.get_include()],
            cxx_std=17,
            extra_compile_args=MSVC_FLAGS if sys.platform == "win32" else GCC_FLAGS,
        )
    ],
    cmdclass={"build_ext": build_ext},
)
