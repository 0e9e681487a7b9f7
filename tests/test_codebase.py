"""The code base itself is in order: symbols of the built core, sizes of files, words."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import ISAS, PLAIN_CASES

import fastopt
from fastopt import _core

TOP = Path(__file__).parents[1]
STEPS = [f"{case.rule}_step" for case in PLAIN_CASES]
SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp", ".inl"}
EXTRAS = {"mlxtend", "tqdm", "matplotlib", "sklearn", "thinc", "torch", "keras"}

needs_sources = pytest.mark.skipif(
    not (TOP / "csrc").is_dir(), reason="the tests do not stand in the repository"
)


def modules() -> list[str]:
    return [
        "fastopt",
        *(
            m.name
            for m in pkgutil.walk_packages(fastopt.__path__, "fastopt.")
            if m.name[-4:] != "core"
        ),
    ]


@pytest.mark.parametrize("name", modules())
def test_doctests(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name in EXTRAS:
            pytest.skip(f"needs {missing.name}")
        raise
    assert doctest.testmod(module).failed == 0


@needs_sources
def test_examples_in_the_readme() -> None:
    tried = doctest.testfile(str(TOP / "README.md"), module_relative=False)
    assert tried.attempted > 5
    assert tried.failed == 0


def disassembly() -> dict[str, str]:
    """Return the instructions of every function of the built core, by its readable name."""
    if not shutil.which("objdump"):
        pytest.skip("needs objdump, of binutils")
    command = ["objdump", "-dC", "--no-show-raw-insn", _core.__file__]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    parts = re.split(r"^[0-9a-f]+ <(.*)>:$", text, flags=re.MULTILINE)
    functions: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        functions[name] = functions.get(name, "") + body
    if not any("fastopt::" in name for name in functions):
        pytest.skip("wheels have no names of functions, builds in the sources do")
    return functions


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_wide_vectors_stay_in_their_tables() -> None:
    """Code for AVX anywhere else would crash older machines (numpy#25274, bitsandbytes)."""
    wide = re.compile(r"%[yz]mm|%k[0-7]|\tv[a-z]+ +.*%xmm")
    inside = re.compile(r"fastopt::(avx2|avx512)::")
    functions = {name: body for name, body in disassembly().items() if wide.search(body)}
    if len(ISAS) > 1:
        assert any("update_elements" in name for name in functions), "the tables are not found"
    assert [name for name in functions if not inside.search(name)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_nothing_is_fused() -> None:
    """A fused multiply-add rounds once, the formula twice; and only some machines have it."""
    fused = re.compile(r"\tv?fn?m(add|sub)\d*[ps][sd]|\tfn?m(add|sub|la|ls) ")
    assert [name for name, body in disassembly().items() if fused.search(body)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_the_core_exports_no_more_than_it_must() -> None:
    if not shutil.which("nm"):
        pytest.skip("needs nm, of binutils")
    command = ["nm", "-D", "--defined-only", _core.__file__]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [line.split()[-1] for line in lines if "fastopt" in line or "PyInit" in line]
    assert sorted(ours) == ["PyInit__core", "fastopt_is_loaded"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_the_core_needs_no_openmp_and_is_small() -> None:
    if not shutil.which("objdump"):
        pytest.skip("needs objdump, of binutils")
    command = ["objdump", "-p", _core.__file__]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"NEEDED +(\S+)", text)
    sanitizers = r"lib(asan|ubsan|tsan|clang_rt).*"
    plain = r"(libstdc\+\+|libc\+\+|libm|libc|libgcc_s|libpthread|ld-linux.*|libpython.*)\.so.*"
    assert [lib for lib in needed if not re.fullmatch(f"{plain}|{sanitizers}", lib)] == []


def import_with(isa: str) -> subprocess.CompletedProcess[str]:
    code = "import fastopt; print(fastopt.info()['isa'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"FASTOPT_ISA": isa},
    )


@pytest.mark.parametrize("isa", ISAS)
def test_the_environment_forces_an_instruction_set(isa: str) -> None:
    assert import_with(isa).stdout.strip() == isa


def test_without_a_word_the_best_instruction_set_is_used() -> None:
    assert import_with("").stdout.strip() == ISAS[0]


def test_an_instruction_set_that_does_not_exist() -> None:
    result = import_with("sse9")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: FASTOPT_ISA: instruction set 'sse9' is not available here; there are "
        f"{', '.join(ISAS)}"
    )


@needs_sources
def test_every_package_is_installed() -> None:
    """A folder that the list lacks is there in a checkout, and missing for all others."""
    listed = re.findall(
        r'^    "(fastopt[\w.]*)",$', (TOP / "pyproject.toml").read_text(), re.MULTILINE
    )
    folders = [path.parent.relative_to(TOP) for path in (TOP / "fastopt").rglob("__init__.py")]
    assert listed == sorted(".".join(folder.parts) for folder in folders)


# From the bottom up. A folder may include itself and what stands before it.
LAYERS = ["", "rules", "kernels", "engine", "capi", "python", "trees", "arrays", "step", "bindings"]
KNOWS_PYTHON = LAYERS.index("python")


def sources() -> list[Path]:
    return [path for end in ("cpp", "hpp", "inl") for path in (TOP / "csrc").rglob(f"*.{end}")]


@needs_sources
@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(TOP).as_posix())
def test_includes_go_downwards(path: Path) -> None:
    """The engine knows no Python, the arrays no options; pybind11's headers are slow to compile."""
    layer = LAYERS.index(path.relative_to(TOP / "csrc").as_posix().rpartition("/")[0].split("/")[0])
    for name in re.findall(r'^ *# *include [<"](.*)[>"]', path.read_text(), re.MULTILINE):
        ours = (path.parent / name).resolve()
        if ours == TOP / "fastopt" / "include" / "fastopt.h":
            assert LAYERS[layer] == "capi", name
        elif ours.is_file():
            below = ours.relative_to(TOP / "csrc").as_posix().rpartition("/")[0].split("/")[0]
            assert LAYERS.index(below) <= layer, name
        elif name == "Python.h" or name.startswith("numpy/"):
            assert layer >= KNOWS_PYTHON, name
        elif name.startswith("pybind11"):
            assert LAYERS[layer] == "bindings", name
        else:
            assert re.fullmatch(r"[a-z_0-9]+(\.h)?", name), f"{name} is nowhere"
    if layer < KNOWS_PYTHON:
        assert not re.search(r"\bPy[A-Z_]|\bNPY_|namespace py\b", path.read_text())


# What only gcc and clang know, behind conditions that name them.
THEIRS = {"platform.hpp", "kernels/isa/avx2.cpp", "kernels/isa/avx512.cpp"}
ASSEMBLY = {"kernels/dispatch.cpp", "kernels/denormals.hpp"}


@needs_sources
@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(TOP).as_posix())
def test_other_compilers_know_what_stands_here(path: Path) -> None:
    name = path.relative_to(TOP / "csrc").as_posix()
    code = re.sub(r"//.*", "", path.read_text())
    if name not in THEIRS:
        assert not re.search(r"__attribute__|__builtin_|_Pragma|# *pragma (?!once)|__int128", code)
    if name not in ASSEMBLY:
        assert not re.search(r"\basm\b", code)


@needs_sources
def test_the_layers_are_all_there_are() -> None:
    folders = {path.name for path in (TOP / "csrc").iterdir() if path.is_dir()}
    assert folders == set(LAYERS) - {""}


@needs_sources
def test_no_folder_grows_past_16_files() -> None:
    for top in ("csrc", "fastopt"):
        for folder in (TOP / top, *filter(Path.is_dir, (TOP / top).rglob("*"))):
            files = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
            assert len(files) <= 16, folder


@needs_sources
def test_no_file_grows_past_400_lines() -> None:
    for folder in ("csrc", "fastopt", "tests", "benchmarks", "examples", ".ci"):
        for path in (TOP / folder).rglob("*"):
            if path.suffix in SUFFIXES and "work" not in path.relative_to(TOP).parts:
                assert len(path.read_text().splitlines()) <= 400, path


@needs_sources
def test_the_version_stands_in_the_changelog_and_citation() -> None:
    assert f"## [{fastopt.__version__}]" in (TOP / "CHANGELOG.md").read_text()
    for file in ("CITATION.cff", "recipe/recipe.yaml"):
        assert re.search(rf"^ *version: {fastopt.__version__}$", (TOP / file).read_text(), re.M)


@pytest.mark.parametrize("name", STEPS)
def test_docstrings_are_whole(name: str) -> None:
    function = getattr(fastopt, name)
    text = inspect.getdoc(function)
    for part in ("Parameters", "Raises", "Notes", "Examples"):
        assert f"\n{part}\n{'-' * len(part)}\n" in text
    assert not re.search(r"\{[A-Z_]+\}", text), "a shared part is missing"
    documented = set(re.findall(r"^(\w+(?:, \w+)*) : ", text, flags=re.MULTILINE))
    described = {word for entry in documented for word in entry.split(", ")}
    assert described == set(inspect.signature(function).parameters)


def test_info() -> None:
    info = fastopt.info()
    assert info["version"] == fastopt.__version__
    assert info["isa"] in info["available_isas"]
    assert info["available_isas"][-1] == "baseline"
    assert info["threads"] == fastopt.get_num_threads()
    assert re.match(r"(gcc|clang|msvc) ", info["compiler"])
