"""An optimizer and its model, made of the same arguments, and what both of them need."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import DTYPES, assert_same_bits, random_like, zip_trees
from hypothesis import strategies as st
from model import Model
from optimizer_options import OPTIONS, SHARED, strategies, together
from test_layouts import LAYOUTS

import fastopt
from fastopt.schedules import ReduceOnPlateau
from fastopt.tree import paths

SHAPES = [(), (0,), (1,), (7,), (33,), (5, 6), (2, 3, 4), (16, 17), (300,)]

# Those whose order in memory survives copying and pickling: norms are added up in that order.
KEPT_LAYOUTS = [LAYOUTS[name] for name in ("contiguous", "fortran", "every second", "reversed")]

# Patterns, and the groups that they make of the tree {"x": {"w", "b"}, "y": {"w", "b"}}.
# The third has the options of both patterns.
PATTERNS, OF_PATTERNS = ("*.b", "y.*"), [0, 1, 3, 2]

STATES = {"SGD": (), "Momentum": ("buf",), "Adam": ("m", "v"), "AdamW": ("m", "v")}


def flat(tree: Any, like: Any = None) -> list[Any]:
    """Return the arrays of a tree; where it has None for a branch of `like`, None for each."""
    return [array for _, array in zip_trees(tree if like is None else like, tree)]


def laid_out(array: Any, rng: np.random.Generator) -> Any:
    return KEPT_LAYOUTS[rng.integers(len(KEPT_LAYOUTS))](array) if array.ndim else array


def random_array(draw: Any, rng: np.random.Generator) -> Any:
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    return laid_out(random_like(np.empty(shape, dtype), rng), rng)


def random_branch(draw: Any, rng: np.random.Generator) -> Any:
    keys = draw(st.sampled_from([None, ["w"], ["w", "b"], range(2)]))
    if keys is None:
        return random_array(draw, rng)
    arrays = [random_array(draw, rng) for _ in keys]
    return arrays if isinstance(keys, range) else dict(zip(keys, arrays, strict=True))


def plateaus(groups: Any) -> list[ReduceOnPlateau]:
    """Return each that is there, once: groups may have one in common."""
    found = [value for group in groups for value in group.values()]
    found = [value for value in found if isinstance(value, ReduceOnPlateau)]
    return list({id(value): value for value in found}.values())


def kinds(model: Model) -> list[Any]:
    """Return what must be the same in a state and in the optimizer that loads it."""
    options = [model.shared, *(group.options for group in model.groups)]
    return [
        {k: type(v) if hasattr(v, "state_dict") else callable(v) for k, v in each.items()}
        for each in options
    ]


@dataclass
class Design:
    """What stays as it is while an optimizer lives."""

    name: str
    """Of the class."""
    form: str
    """Of the parameters: a "list" of groups, a tree with "patterns", or a "tree" of one group."""
    centered: bool
    has_momentum: bool
    """Of RMSprop: whether it was made with a buffer."""
    scheduled: bool
    """Whether there are schedules."""

    def group_options(self) -> Any:
        """Return a strategy for some of the options that a group may be given."""
        options = strategies(OPTIONS[self.name], self.scheduled) | {"frozen": st.booleans()}
        if self.name == "RMSprop" and not self.has_momentum:
            del options["momentum"]
        names = st.lists(st.sampled_from(list(options)), unique=True, max_size=3)
        return names.flatmap(
            lambda few: st.fixed_dictionaries({name: options[name] for name in few})
        )

    def make(self, params: Any, options: Any, of_groups: list[Any]) -> tuple[Any, Model]:
        """Make an optimizer and a model that have nothing in common."""
        return (
            self.make_optimizer(params, *copy.deepcopy((options, of_groups))),
            self.make_model(params, *copy.deepcopy((options, of_groups))),
        )

    def make_optimizer(self, params: Any, options: Any, of_groups: list[Any]) -> Any:
        init = {"centered": self.centered} if self.name == "RMSprop" else {}
        if self.form == "list":
            params = [{"params": p, **own} for p, own in zip(params, of_groups, strict=True)]
        elif self.form == "patterns":
            patterns = dict(zip(PATTERNS, (of_groups[1], of_groups[3]), strict=True))
            params = fastopt.groups(params, patterns)
        return getattr(fastopt, self.name)(params, **options, **init)

    def make_model(self, params: Any, options: Any, of_groups: list[Any]) -> Model:
        plain = getattr(fastopt, self.name)(np.zeros(1))  # which has the defaults
        shared, defaults = (
            {name: options.get(name, value) for name, value in known.items()}
            for known in (plain.options, plain.groups[0])
        )
        of_rmsprop = ("v", *["avg"] * self.centered, *["buf"] * self.has_momentum)
        model = Model(
            plain.rule,
            of_rmsprop if self.name == "RMSprop" else STATES[self.name],
            shared,
            defaults,
        )
        for own in of_groups:
            model.add_group(own)
        of_entries = self.groups_of_entries(params)
        for path, group, array in zip(paths(params), of_entries, flat(params), strict=True):
            model.add_entry(path, group, array)
        return model

    def groups_of_entries(self, params: Any) -> list[int]:
        """Return the number of the group of each array."""
        if self.form == "patterns":
            return OF_PATTERNS
        branches = params if self.form == "list" else [params]
        return [number for number, branch in enumerate(branches) for _ in paths(branch)]


def drawn(draw: Any, rng: np.random.Generator) -> tuple[Design, Any, Any, list[Any]]:
    """Return a design, parameters, options, and those of the groups."""
    name = draw(st.sampled_from(list(OPTIONS)))
    design = Design(
        name,
        form=draw(st.sampled_from(["list", "list", "patterns", "tree"])),
        centered=name == "RMSprop" and draw(st.booleans()),
        has_momentum=name == "RMSprop" and draw(st.booleans()),
        scheduled=draw(st.booleans()),
    )
    table = strategies(OPTIONS[name] | SHARED, design.scheduled) | together(design.scheduled)
    required = {key: table.pop(key) for key in ("skip_nonfinite", "clipping", "averaging")}
    if name == "RMSprop":
        momentum = table.pop("momentum")
        if design.has_momentum:
            required["momentum"] = momentum.filter(lambda number: number != 0)
    options = draw(st.fixed_dictionaries(required, optional=table))
    clipping, averaging = options.pop("clipping"), options.pop("averaging")
    options |= clipping | draw(st.sampled_from([averaging, averaging, {}]))
    if design.form == "list":
        params: Any = [random_branch(draw, rng) for _ in range(draw(st.integers(1, 3)))]
    elif design.form == "patterns":
        params = {x: {key: random_array(draw, rng) for key in ("w", "b")} for x in ("x", "y")}
    else:
        params = random_branch(draw, rng)
    count = len(params) if design.form == "list" else max(design.groups_of_entries(params)) + 1
    of_groups = [draw(design.group_options()) for _ in range(count)]
    if design.form != "list":
        of_groups[0] = {}  # the options of the optimizer itself
    if design.form == "patterns":
        of_groups[2] = of_groups[1] | of_groups[3]
    return design, params, options, of_groups


def assert_same_result(result: Any, wanted: Any) -> None:
    """Compare what two steps say: their repr has every bit, and NaN is like NaN."""
    assert repr(result) == repr(wanted)


def assert_alike(opt: Any, model: Model, params: Any) -> None:
    """Compare all that can be seen of an optimizer, exactly; `params` are those of the user."""
    assert opt.step_count == model.step_count
    held = zip(flat(opt.params), flat(params), strict=True)
    assert all(one is other for one, other in held), "arrays are never replaced"
    assert_same_bits(params, [entry.p for entry in model.entries])
    assert (opt.ema is not None) == model.averages
    if model.averages:
        assert_same_bits(opt.ema, [entry.ema for entry in model.entries])
    assert dict(opt.options) == model.shared
    for number, (group, wanted) in enumerate(zip(opt.groups, model.groups, strict=True)):
        assert dict(group) == wanted.options, f"groups[{number}]"
        entries = model.of_group(number)
        if group.state is None:
            continue
        assert group.state.step == wanted.step, f"groups[{number}].state.step"
        for name, held in group._arrays().items():
            arrays = [entry.state[name] for entry in entries if name in entry.state]
            assert_same_bits(held or (), arrays)
