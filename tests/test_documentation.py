"""The documentation is whole and true: its code, its references, its figures, its conversions."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.schedules import Constant

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
PAGES = [page for page in PAGES if not page.startswith("_build/")]
WITHOUT_CODE = {
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
}
PROGRAMS = {"recipes.md"}  # test_recipes.py and test_recipes_frameworks.py run them
TESTED_ELSEWHERE = {"regularization.md"}  # in test_examples.py

needs_sources = pytest.mark.skipif(
    not (DOCS / "conf.py").is_file(), reason="the tests do not stand in the repository"
)


# Pages


@needs_sources
@pytest.mark.parametrize("page", PAGES)
def test_code(page: str) -> None:
    if page in TESTED_ELSEWHERE:
        pytest.skip("test_examples.py runs it")
    tried = doctest.testfile(str(DOCS / page), module_relative=False)
    assert tried.failed == 0
    assert (tried.attempted == 0) == (page in WITHOUT_CODE)


@needs_sources
@pytest.mark.parametrize("page", PAGES)
def test_all_code_is_tried(page: str) -> None:
    """A block of Python without a prompt would go untested; one that ends late would hide text."""
    if page in PROGRAMS:
        pytest.skip("other tests run its programs")
    text = (DOCS / page).read_text()
    for block in re.findall(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        assert block.lstrip().startswith(">>>"), block
        assert block.endswith("\n\n"), "doctest takes the fence for output where no line is empty"


def entries_of_tocs() -> set[str]:
    """Return the names of pages that the two tables of contents have."""
    guide = re.findall(
        r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL
    )
    reference = re.findall(
        r"^\.\. toctree::\n((?: .*\n|\n)*)", (DOCS / "api" / "index.rst").read_text(), re.MULTILINE
    )
    entry = re.compile(r"^ *([\w/]+)$", re.MULTILINE)
    return {
        *(name for toc in guide for name in entry.findall(toc)),
        *(f"api/{name}" for toc in reference for name in entry.findall(toc)),
    }


@needs_sources
def test_every_page_is_in_the_table_of_contents() -> None:
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for pattern in ("*.md", "api/*.rst")
        for path in DOCS.glob(pattern)
    }
    assert entries_of_tocs() == pages - {"index"}


@needs_sources
def test_figures_are_those_of_the_readme() -> None:
    row = re.compile(r"^\| .* \| 1 / 2 \| .*$", re.MULTILINE)
    rows = row.findall((DOCS / "performance.md").read_text())
    assert rows
    assert rows == row.findall((TOP / "README.md").read_text())


# Conversions that no other test has

LR = 0.02
STEPS = 20


def against_optax(
    transformation: Callable[[Any], Any], step: Callable[..., Any], init: Any, options: Any
) -> tuple[Any, Any]:
    """Return our parameters and optax's after some steps, in float64."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    rng = np.random.default_rng(1)
    p = rng.standard_normal(50)
    q: Any = p.copy()
    state = init(p)
    with jax.enable_x64(True):
        theirs = transformation(optax)
        their_state = theirs.init(q)
        for _ in range(STEPS):
            g = rng.standard_normal(50)
            step(p, g, state, lr=LR, **options)
            updates, their_state = theirs.update(g, their_state, q)
            q = np.asarray(optax.apply_updates(q, updates))
    assert q.dtype == np.float64
    return p, q


def no_state(_params: Any) -> None:
    return None


SGD = (fastopt.sgd_step, no_state)
MOMENTUM = (fastopt.momentum_step, fastopt.momentum_init)
ADAM = (fastopt.adam_step, fastopt.adam_init)
RMSPROP = (fastopt.rmsprop_step, fastopt.rmsprop_init)
RMSPROP_WITH_ALL = (
    fastopt.rmsprop_step,
    lambda p: fastopt.rmsprop_init(p, centered=True, momentum=True),
)
OF_RMSPROP = {"rho": 0.9, "eps_inside_sqrt": True}


@pytest.mark.parametrize(
    ("transformation", "rule", "options"),
    [
        (lambda o: o.sgd(LR), SGD, {}),
        (lambda o: o.sgd(LR, momentum=0.9), MOMENTUM, {}),
        (lambda o: o.sgd(LR, momentum=0.9, nesterov=True), MOMENTUM, {"nesterov": True}),
        (lambda o: o.adam(LR), ADAM, {}),
        (lambda o: o.adamw(LR), ADAM, {"weight_decay": 1e-4}),
        (lambda o: o.rmsprop(LR), RMSPROP, OF_RMSPROP),
        (lambda o: o.rmsprop(LR, eps_in_sqrt=False), RMSPROP, {"rho": 0.9}),
        (
            lambda o: o.rmsprop(LR, centered=True, momentum=0.8),
            RMSPROP_WITH_ALL,
            {**OF_RMSPROP, "momentum": 0.8},
        ),
        (lambda o: o.chain(o.add_decayed_weights(0.1), o.adam(LR)), ADAM, {"l2": 0.1}),
        (
            lambda o: o.chain(o.clip_by_global_norm(5.0), o.sgd(LR)),
            SGD,
            {"clip_norm": 5.0, "clip_eps": 0.0},
        ),
        (lambda o: o.chain(o.clip(0.5), o.adam(LR)), ADAM, {"clip_value": 0.5}),
        (
            lambda o: o.chain(o.sgd(LR), o.keep_params_nonnegative()),
            SGD,
            {"nonneg": True},
        ),
    ],
)
def test_conversions_of_optax(transformation: Any, rule: Any, options: Any) -> None:
    ours, theirs = against_optax(transformation, *rule, options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def averages(ema_decay: Any, average: Callable[[Any, Any, int], Any], start: Any = None) -> None:
    """Compare `opt.ema` with an average that another library keeps, step by step."""
    rng = np.random.default_rng(2)
    p = rng.standard_normal(50)
    opt = fastopt.SGD(p, lr=LR, ema_decay=ema_decay)
    if start is not None:
        opt.ema[...] = start
    theirs = opt.ema.copy()
    for t in range(STEPS):
        opt.step(rng.standard_normal(50))
        theirs = average(theirs, p, t)
        np.testing.assert_allclose(opt.ema, theirs, rtol=1e-12, atol=1e-12)


def test_average_of_torch() -> None:
    torch = pytest.importorskip("torch")
    swa_utils = torch.optim.swa_utils
    model = torch.nn.Linear(1, 50, bias=False, dtype=torch.float64)
    averaged = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))

    def torchs(_average: Any, p: Any, _t: int) -> Any:
        with torch.no_grad():
            model.weight[:, 0] = torch.from_numpy(p)
        averaged.update_parameters(model)
        return averaged.module.weight.detach().numpy()[:, 0]

    averages(Constant(0.0).then(0.9, at=1), torchs)


def test_average_of_keras() -> None:
    """BaseOptimizer._update_model_variables_moving_average."""

    def keras(average: Any, p: Any, iterations: int) -> Any:
        momentum = (iterations != 0) * 0.9
        return momentum * average + (1 - momentum) * p

    averages(Constant(0.0).then(0.9, at=1), keras)


def test_average_of_thinc() -> None:
    """Ops.update_averages; it starts at zero."""

    def thinc(average: Any, p: Any, steps_before: int) -> Any:
        t = steps_before + 1
        decay = min((1.0 + t) / (10.0 + t), 0.9999)
        return average - (1 - decay) * (average - p)

    averages(lambda step: min((2 + step) / (11 + step), 0.9999), thinc, start=0.0)


def default(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def cells(row: str) -> list[str]:
    """Return fastopt, torch, Keras, optax, scikit-learn and thinc of a row of the defaults."""
    text = (DOCS / "conventions.md").read_text()
    line = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", text, re.MULTILINE)
    assert line, row
    return [cell.strip(" *") for cell in line[1].split("|")]


@needs_sources
@pytest.mark.parametrize(
    ("row", "ours", "torchs", "optaxs"),
    [
        ("SGD, `lr`", (fastopt.SGD, "lr"), ("SGD", "lr"), None),
        ("`momentum`", (fastopt.Momentum, "momentum"), ("SGD", "momentum"), None),
        ("Adam, `lr`", (fastopt.Adam, "lr"), ("Adam", "lr"), None),
        ("Adam, `eps`", (fastopt.Adam, "eps"), ("Adam", "eps"), ("adam", "eps")),
        (
            "AdamW, `weight_decay`",
            (fastopt.AdamW, "weight_decay"),
            ("AdamW", "weight_decay"),
            ("adamw", "weight_decay"),
        ),
        ("RMSprop, `lr`", (fastopt.RMSprop, "lr"), ("RMSprop", "lr"), None),
        ("RMSprop, `rho`", (fastopt.RMSprop, "rho"), ("RMSprop", "alpha"), ("rmsprop", "decay")),
        ("RMSprop, `eps`", (fastopt.RMSprop, "eps"), ("RMSprop", "eps"), ("rmsprop", "eps")),
    ],
)
def test_defaults(row: str, ours: Any, torchs: Any, optaxs: Any) -> None:
    said = cells(row)
    assert float(said[0]) == default(*ours)
    optim = pytest.importorskip("torch").optim
    assert float(said[1]) == default(getattr(optim, torchs[0]), torchs[1])
    if optaxs is not None:
        optax = pytest.importorskip("optax")
        assert float(said[3]) == default(getattr(optax, optaxs[0]), optaxs[1])
