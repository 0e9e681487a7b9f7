"""The pages are built as users see them, without warnings, and nothing public is missing."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import fastopt

DOCS = Path(__file__).parents[1] / "docs"
MODULES = [
    "fastopt",
    "fastopt.schedules",
    "fastopt.checkpoint",
    "fastopt.interop",
    "fastopt.reference",
]
BUILDERS = ("sphinx", "myst_parser", "numpydoc", "furo", "sklearn", "thinc", "torch", "keras")

pytestmark = pytest.mark.skipif(
    not (DOCS / "conf.py").is_file(), reason="the tests do not stand in the repository"
)


def public_names(module: str) -> list[str]:
    """Return what a module exports; other modules among it have names of their own."""
    exported = importlib.import_module(module)
    return [name for name in exported.__all__ if not inspect.ismodule(getattr(exported, name))]


def test_every_public_name_is_in_the_summary() -> None:
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    assert spec
    assert spec.loader
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    summary = conf.with_rules((DOCS / "api" / "index.rst").read_text())
    for name in public_names("fastopt"):
        assert re.search(rf"^(   |\.\. py:data:: ){name}$", summary, re.MULTILINE), name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages as CI does, with warnings as errors."""
    for package in BUILDERS:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    html = tmp_path_factory.mktemp("site")
    doctrees = str(tmp_path_factory.mktemp("doctrees"))
    flags = ["-W", "--keep-going", "-q", "-b", "html", "-d", doctrees]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *flags, str(DOCS), str(html)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert built.returncode == 0
    return html


def test_pictures_are_there(site: Path) -> None:
    pictures = {path.name for path in (site / "_images").iterdir()}
    assert pictures >= {"choosing.png", "schedules.png", "weights.png"}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(site: Path, module: str) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(inventory).decode().splitlines()
    documented = {line.split(" ")[0] for line in lines if " py:" in line}
    for name in public_names(module):
        defined = getattr(importlib.import_module(module), name)
        home = "fastopt" if defined is getattr(fastopt, name, None) else module
        assert f"{home}.{name}" in documented


def test_shared_options_are_in_the_signatures(site: Path) -> None:
    text = (site / "api" / "steps.html").read_text()
    signature = text[text.index('id="fastopt.adam_step"') :]
    for name in ("epsilon_hat", "weight_decay", "update_mask", "threads"):
        assert name in signature[: signature.index("</dt>")]
