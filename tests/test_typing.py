"""What type checkers say to users: of the documentation nothing, of wrong calls that they are."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastopt
from fastopt.options import DEFAULTS
from fastopt.rules import RULES

HERE = Path(__file__).parent
TOP = HERE.parent
IN_REPOSITORY = (TOP / "docs" / "conf.py").is_file()
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))] if IN_REPOSITORY else []

WITHOUT_CODE = (
    *(
        "changelog.md",
        "choosing.md",
        "interop.md",
        "keras.md",
        "recipes.md",
        "sklearn.md",
        "thinc.md",
    ),
    "torch.md",
)

# mypy: names may be used again for another thing, as at a prompt; of the library itself, which
# is found in the same folder, it reports nothing.
CHECKERS = {
    "mypy": ["--strict", "--allow-redefinition", "--follow-imports=silent", "--output=json"],
    "pyright": ["--outputjson", "--pythonpath", sys.executable],
}

# pyright: lines at a prompt show values, go on with what a loop left, and use functions of NumPy
# whose types it does not know.
AT_A_PROMPT = (
    "# pyright: reportUnusedExpression=false, reportPossiblyUnboundVariable=false, "
    "reportUnknownVariableType=false, reportUnknownArgumentType=false"
)


class Error(NamedTuple):
    module: str
    line: int
    message: str


def module_of(page: Path) -> str:
    """Return the examples of a page, each in the line where it stands there.

    What raises an error is left out: it is wrong on purpose.
    """
    text = page.read_text()
    lines = [""] * len(text.splitlines())
    for example in doctest.DocTestParser().get_examples(text):
        if example.exc_msg is None:
            code = example.source.splitlines()
            lines[example.lineno : example.lineno + len(code)] = code
    assert not lines[0]
    return "\n".join([AT_A_PROMPT, *lines[1:], ""])


def calls(wrong: bool) -> str:
    """Return calls of all steps and classes, with all of their options or with a misspelt one."""
    lines = ["import numpy as np, fastopt", "w = np.ones((3, 3))"]
    for name, rule in RULES.items():
        own = inspect.signature(rule.step).parameters
        state = f"fastopt.{rule.init.__name__}(w)" if rule.init else "None"
        given: dict[str, Any] = {"learning_rate": 0.1}
        if not wrong:
            given = {o.name: o.default for o in own.values() if o.kind is o.KEYWORD_ONLY}
            assert given.keys() >= DEFAULTS.keys()
        lines.append(f"fastopt.{name}_step(w, w, {state}{in_words(given)})")
        for kind in rule.optimizers:
            if not wrong:
                opt = kind(np.zeros((2, 2)))
                given = {**opt.groups[0], **opt.options, "state": None}
                del given["frozen"]  # which groups alone have
            lines.append(f"fastopt.{kind.__name__}(w{in_words(given)})")
    return "\n".join([*lines, ""])


def in_words(options: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())


def modules() -> dict[str, str]:
    pages = {f"page_{page.stem}": module_of(page) for page in PAGES}
    files = {path.stem: path.read_text() for path in (HERE / "typed").glob("*.py")}
    return {
        **pages,
        **files,
        "right_options": calls(wrong=False),
        "wrong_options": calls(wrong=True),
    }


MODULES = modules()
WRONG = [name for name in MODULES if name.startswith("wrong")]


def reported(checker: str, output: str) -> list[Error]:
    if checker == "pyright":
        return [
            Error(Path(found["file"]).stem, found["range"]["start"]["line"] + 1, found["message"])
            for found in json.loads(output)["generalDiagnostics"]
        ]
    lines = map(json.loads, output.splitlines())
    return [
        Error(Path(found["file"]).stem, found["line"], found["message"])
        for found in lines
        if found["severity"] == "error"
    ]


@pytest.fixture(scope="module", params=CHECKERS)
def errors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Error]:
    """Run a checker over all modules, in a folder of their own."""
    checker: str = request.param
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"needs {checker}")
    folder = tmp_path_factory.mktemp(checker)
    (folder / "fastopt").symlink_to(Path(fastopt.__file__).parent)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    for name, code in MODULES.items():
        (folder / f"{name}.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "-m", checker, *CHECKERS[checker], *(f"{name}.py" for name in MODULES)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 1, run.stderr  # errors were found, as they should
    return reported(checker, run.stdout)


def test_what_is_right_passes(errors: list[Error]) -> None:
    found = [f"{module}:{line}: {said}" for module, line, said in errors if module not in WRONG]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", WRONG)
def test_what_is_wrong_is_found(errors: list[Error], module: str) -> None:
    statements = [s for s in ast.parse(MODULES[module]).body if isinstance(s, ast.Expr)]
    wrong = {s.lineno for s in statements if isinstance(s.value, ast.Call)}
    assert {error.line for error in errors if error.module == module} == wrong
    if module == "wrong_options":
        assert len(wrong) == sum(1 + len(rule.optimizers) for rule in RULES.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_stand_in_the_lines_where_the_page_has_them(page: Path) -> None:
    code = MODULES[f"page_{page.stem}"].splitlines()[1:]
    for line, said in zip(code, page.read_text().splitlines()[1:], strict=True):
        assert not line or said.lstrip() in (f">>> {line}", f"... {line}")
    assert any(code) == (page.name not in WITHOUT_CODE)
