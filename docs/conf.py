"""How Sphinx builds these pages: sphinx-build -W --keep-going -b html docs docs/_build/html."""

from __future__ import annotations

from typing import Any

import fastopt

project = "fastopt"
author = "The fastopt developers"
copyright = "the fastopt developers"
version = release = fastopt.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
nitpicky = True  # a reference that leads nowhere is a warning, and warnings are errors
nitpick_ignore = [("py:attr", "step_count"), ("py:mod", "fnmatch")]

myst_heading_anchors = 3

default_role = "code"  # `name` in a docstring is a parameter
add_module_names = False
autosummary_generate = False  # the pages in api/ are written by hand, so that they have an order
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have them, with ranges
numpydoc_show_class_members = False
numpydoc_use_plots = False

html_theme = "furo"
html_title = f"fastopt {release}"
html_copy_source = False
html_show_copyright = False


def find_elsewhere(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Let short names lead to what has a longer one: `ema` of SGD to that of Optimizer."""
    if node.get("refdomain") != "py":
        return None
    node["refspecific"] = True
    target = (node["reftype"], node["reftarget"])
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, *target, node, text)


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("missing-reference", find_elsewhere)
