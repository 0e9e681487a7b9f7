"""Build of the C++ core, and the README for package indexes; all else stands in pyproject.toml."""

import re
import sys
from glob import glob
from pathlib import Path

import numpy
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

# The promises rest on the flags in compile_flags.txt (clangd reads that file too). Without
# -fno-math-errno and -fno-trapping-math, loops with a square root or a mask stay scalar. Without
# -ffp-contract=off, compilers fuse multiplications with additions where the processor can, and
# instruction sets disagree in the last bit.
GCC_FLAGS = Path(__file__).with_name("compile_flags.txt").read_text().split()
MSVC_FLAGS = ["/std:c++17", "/O2", "/fp:precise"]
EXPORTS = Path(__file__).with_name("csrc") / "exports.map"
"""What others may see; without it, templates of the standard library would be seen, too."""


def find(*endings: str) -> list[str]:
    return sorted(path for end in endings for path in glob(f"csrc/**/*{end}", recursive=True))


def sources() -> list[str]:
    """Return what is compiled: of the bindings one file, which includes the others."""
    others = [path for path in find(".cpp") if Path(path).parts[1] != "bindings"]
    return [*others, "csrc/bindings/all.cpp"]


def readme() -> str:
    """Return the README as a package index shows it, where links to files here lead nowhere."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return re.sub(r"!?\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


def flags_of(path: str) -> list[str]:
    """Return what keeps a source small: less than -O3, or no tables for exceptions."""
    top, folder, *_ = (*Path(path).parts, "")
    if "-O3" not in GCC_FLAGS or top != "csrc":
        return []
    if "isa" in Path(path).parts:  # the loops, in which nothing is thrown
        return ["-fno-exceptions", "-fno-asynchronous-unwind-tables"]
    if folder == "kernels" or path.endswith("memory_probe.cpp"):
        return []
    return ["-Os" if folder == "bindings" else "-O2"]


class BuildExt(build_ext):
    """Leaves the compiled core in the source tree too.

    Python started in this folder finds the package here before the installed one, and it would find
    it without its core.
    """

    def build_extensions(self) -> None:
        if sys.platform == "linux" and "bdist_wheel" in self.distribution.commands:
            for extension in self.extensions:  # which needs no names but those that others use
                extension.extra_link_args = [*extension.extra_link_args, "-Wl,--strip-all"]
        compile_one = getattr(self.compiler, "_compile", None)  # that of MSVC has none

        def compile_small(
            obj: str, src: str, ext: str, cc_args: list[str], flags: list[str], pp_opts: list[str]
        ) -> None:
            compile_one(obj, src, ext, cc_args, [*flags, *flags_of(src)], pp_opts)

        if compile_one:
            self.compiler._compile = compile_small
        super().build_extensions()

    def run(self) -> None:
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


ParallelCompile(default=0).install()

setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=[
        Pybind11Extension(
            "fastopt._core",
            sources(),
            depends=[
                *find(".cpp", ".hpp", ".inl"),
                "fastopt/include/fastopt.h",
                "compile_flags.txt",
                str(EXPORTS),
            ],
            include_dirs=[numpy.get_include()],
            extra_compile_args=MSVC_FLAGS if sys.platform == "win32" else GCC_FLAGS,
            extra_link_args=[f"-Wl,--version-script={EXPORTS}"] if sys.platform == "linux" else [],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
