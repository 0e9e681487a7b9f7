"""How Sphinx builds these pages: sphinx-build -W --keep-going -b html docs docs/_build/html."""

from __future__ import annotations

import os
import re
from typing import Any

import fastopt
from fastopt.rules import RULES

os.environ.setdefault("KERAS_BACKEND", "torch")  # else Keras looks for TensorFlow

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


OF_RULES = {
    "RULE_STEPS": [rule.step.__name__ for rule in RULES.values()],
    "RULE_INITS": [rule.init.__name__ for rule in RULES.values() if rule.init],
    "RULE_STATES": list(
        dict.fromkeys(rule.state.__name__ for rule in RULES.values() if rule.state)
    ),
    "RULE_CLASSES": [kind.__name__ for rule in RULES.values() for kind in rule.optimizers],
}


def with_rules(text: str) -> str:
    """Repeat for every rule the line that is one of these words, and the paragraph that has one."""
    for word, names in OF_RULES.items():
        text = re.sub(
            rf"^( *){word}$",
            lambda m, n=names: "\n".join(m[1] + name for name in n),
            text,
            flags=re.M,
        )
        text = re.sub(
            rf"^.*\b{word}\b.*(?:\n.+)*",
            lambda m, w=word, n=names: "\n\n".join(m[0].replace(w, name) for name in n),
            text,
            flags=re.M,
        )
    return text


def name_rules(app: Any, page: str, source: list[str]) -> None:
    if page.startswith("api/"):
        source[0] = with_rules(source[0])


def find_elsewhere(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Let short names lead to what has a longer one: `ema` of SGD to that of Optimizer."""
    if node.get("refdomain") != "py":
        return None
    node["refspecific"] = True
    target = (node["reftype"], node["reftarget"])
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, *target, node, text)


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", name_rules)
    app.connect("missing-reference", find_elsewhere)
