"""An optimizer and its model, made of the same arguments, and what both of them need."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from cases import DTYPES, FACTORS, NUMBERS, assert_same_bits, random_like, zip_trees
from hypothesis import strategies as st
from model import STATES as STATE_CLASSES
from model import Entry, Model, means_like
from optimizer_options import OPTIONS, REQUIRED, SHARED, strategies, together
from test_layouts import LAYOUTS

import fastopt
from fastopt import _core
from fastopt.optimizers.group import one_or_each
from fastopt.rules import RULES
from fastopt.schedules import ReduceOnPlateau
from fastopt.tree import map_tree, names, unflatten

SHAPES = [(), (0,), (1,), (7,), (33,), (5, 6), (2, 3, 4), (16, 17), (300,)]

# Those whose order in memory survives copying and pickling: norms are added up in that order.
KEPT_LAYOUTS = [LAYOUTS[name] for name in ("contiguous", "fortran", "every second", "reversed")]

# Some of the four groups that two patterns make: entries that match none, one of them, and both.
PATTERNS = ("*.b", "y.*")
PATTERN_TREES = (
    ("x.w", "x.b", "y.w", "y.b"),
    ("x.b", "y.w"),
    ("x.w", "y.b"),
    ("x.w", "x.b", "y.w"),
)

# The arrays of the states of all classes; RMSprop's depend on its options.
STATES = {
    kind.__name__: (
        *_core.rules[name].factors,
        *(array for array, optional in _core.rules[name].arrays.items() if not optional),
        *_core.rules[name].numbers,
    )
    for name, rule in RULES.items()
    for kind in rule.optimizers
}


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
        several = st.lists(st.sampled_from(list(options)), unique=True, max_size=3)
        return several.flatmap(
            lambda few: st.fixed_dictionaries({name: options[name] for name in few})
        )

    def step_options(self, averages: bool) -> Any:
        """Return a strategy for some of the numbers that one step may be given."""
        options = strategies(OPTIONS[self.name] | SHARED, scheduled=False) | together(False)
        averaging = options.pop("averaging")
        for name in ("drop", "accumulation"):
            del options[name]
        if self.name == "RMSprop" and not self.has_momentum:
            del options["momentum"]
        if averages:
            options["ema_decay"] = averaging.map(lambda both: both["ema_decay"])
        several = st.lists(st.sampled_from(list(options)), unique=True, max_size=4)
        return several.flatmap(
            lambda few: st.fixed_dictionaries({name: options[name] for name in few})
        ).map(lambda drawn: drawn.pop("clipping", {}) | drawn)

    def make(
        self, params: Any, options: Any, of_groups: list[Any], state: Any = None
    ) -> tuple[Any, Model]:
        """Make an optimizer and a model that have nothing in common; a state belongs to the one."""
        model = self.make_model(params, *copy.deepcopy((options, of_groups)))
        if state is not None:
            for k, entry in enumerate(model.entries):
                entry.step = flat(state.step, params)[k] if is_tree(state.step) else state.step
                for name, array in entry.state.items():
                    array[...] = flat(getattr(state, name))[k]
        opt = self.make_optimizer(params, *copy.deepcopy((options, of_groups)), state)
        return opt, model

    def random_state(self, params: Any, model: Model, rng: np.random.Generator) -> Any:
        """Return a state as it may be found, with one count or one for each array."""
        state_class = STATE_CLASSES[model.rule]
        if state_class is None:
            return None
        arrays = {name: None for name in state_class.__slots__ if name != "step"}
        for name in model.states:
            if name in NUMBERS:
                arrays[name] = map_tree(lambda _: np.array(rng.random()), params)
                continue
            if name in FACTORS:
                like = map_tree(lambda p, slot=name: means_like(p, slot), params)
                arrays[name] = map_tree(lambda a: rng.random(a.shape).astype(a.dtype), like)
                continue
            arrays[name] = map_tree(
                lambda p: laid_out(rng.random(p.shape).astype(p.dtype), rng), params
            )
        steps = [int(rng.integers(9)) for _ in model.entries]
        step = unflatten(params, iter(steps)) if rng.random() < 0.5 else steps[0]
        return state_class(step, **arrays)

    def make_optimizer(self, params: Any, options: Any, of_groups: list[Any], state: Any) -> Any:
        init = {"centered": self.centered} if self.name == "RMSprop" else {}
        if self.form == "list":
            params = [{"params": p, **own} for p, own in zip(params, of_groups, strict=True)]
        elif self.form == "patterns":
            params = fastopt.groups(params, dict(zip(PATTERNS, of_groups, strict=True)))
        return getattr(fastopt, self.name)(params, state=state, **options, **init)

    def make_model(self, params: Any, options: Any, of_groups: list[Any]) -> Model:
        plain = getattr(fastopt, self.name)(np.zeros((1, 1)))  # which has the defaults
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
            self.form,
        )
        if self.form == "patterns":
            model.patterns = dict(zip(PATTERNS, of_groups, strict=True))
        else:
            for own in of_groups:
                model.add_group(own)
        model.take(params)
        return model

    def takes(self, params: Any) -> bool:
        """Tell whether all patterns match some name of these parameters."""
        return self.form != "patterns" or all(
            any(fnmatchcase(name, pattern) for name in names("test", params))
            for pattern in PATTERNS
        )

    def count_of_options(self, params: Any) -> int:
        """Return how many dicts of options `make` takes: for groups, or for patterns."""
        if self.form == "list":
            return len(params)
        return len(PATTERNS) if self.form == "patterns" else 1

    def drawn_options(self, draw: Any) -> dict[str, Any]:
        """Return options of the optimizer itself."""
        table = strategies(OPTIONS[self.name] | SHARED, self.scheduled) | together(self.scheduled)
        required = {key: table.pop(key) for key in ("skip_nonfinite", "clipping", "averaging")}
        if self.name == "RMSprop":
            momentum = table.pop("momentum")
            if self.has_momentum:
                required["momentum"] = momentum.filter(lambda number: number != 0)
        required |= {name: table.pop(name) for name in REQUIRED if name in table}
        options = draw(st.fixed_dictionaries(required, optional=table))
        clipping, averaging = options.pop("clipping"), options.pop("averaging")
        return options | clipping | draw(st.sampled_from([averaging, averaging, {}]))


def is_tree(node: Any) -> bool:
    return isinstance(node, (dict, list))


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
    options = design.drawn_options(draw)
    if design.form == "list":
        params: Any = [random_branch(draw, rng) for _ in range(draw(st.integers(1, 3)))]
    elif design.form == "patterns":
        params = {}
        for name in draw(st.sampled_from(PATTERN_TREES)):
            branch, key = name.split(".")
            params.setdefault(branch, {})[key] = random_array(draw, rng)
    else:
        params = random_branch(draw, rng)
    of_groups = [draw(design.group_options()) for _ in range(design.count_of_options(params))]
    if design.form == "tree":
        of_groups[0] = {}  # the options of the optimizer itself
    return design, params, options, of_groups


def with_gaps(grads: Any, params: Any, left_out: list[bool], rng: np.random.Generator) -> Any:
    """Put None in place of some gradients, and of branches that have no others."""
    gaps = iter(left_out)
    return pruned(unflatten(params, (None if next(gaps) else g for g in flat(grads, params))), rng)


def pruned(tree: Any, rng: np.random.Generator) -> Any:
    def cut(node: Any) -> Any:
        node = pruned(node, rng)
        is_empty = is_tree(node) and all(each is None for each in flat(node))
        return None if is_empty and rng.random() < 0.5 else node

    if isinstance(tree, dict):
        return {key: cut(node) for key, node in tree.items()}
    return [cut(node) for node in tree] if isinstance(tree, list) else tree


def in_any_order(tree: Any, rng: np.random.Generator) -> Any:
    """Shuffle the keys of every dict."""
    if isinstance(tree, dict):
        keys = list(tree)
        rng.shuffle(keys)
        return {key: in_any_order(tree[key], rng) for key in keys}
    return [in_any_order(node, rng) for node in tree] if isinstance(tree, list) else tree


def with_more(tree: Any, form: str, draw: Any, rng: np.random.Generator) -> Any:
    """Return the tree with one more array in it, if there is a place for it."""
    new = random_array(draw, rng)
    if form == "patterns":
        branch, key = draw(st.sampled_from(["x", "y", "z"])), draw(st.sampled_from(["w", "b", "c"]))
        return {**tree, branch: {key: new, **tree.get(branch, {})}}
    if form == "list":
        number = draw(st.sampled_from(range(len(tree))))
        branches = list(tree)
        branches[number] = with_more(tree[number], "tree", draw, rng)
        return branches
    if isinstance(tree, dict):
        return {f"c{len(tree)}": new, **tree}
    return [*tree, new] if isinstance(tree, list) else tree


def assert_same_result(result: Any, wanted: Any) -> None:
    """Compare what two steps say: their repr has every bit, and NaN is like NaN."""
    assert repr(result) == repr(wanted), f"{result}, not {wanted}"


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
    assert opt.names == tuple(model.names)
    assert opt.frozen == tuple(entry.name for entry in model.entries if model.is_frozen(entry))
    assert opt.current() == model.current()
    assert len(opt.groups) == len(model.groups)
    saved = opt.state_dict()
    for number, (group, wanted) in enumerate(zip(opt.groups, model.groups, strict=True)):
        assert dict(group) == wanted.options, f"groups[{number}]"
        entries = model.of_group(number)
        assert group.names == tuple(entry.name for entry in entries)
        assert_weights(saved["groups"][number]["ema_weight"], entries)
        if group.state is None:
            continue
        steps = one_or_each(entry.step for entry in entries)
        assert group.state.step == steps, f"groups[{number}].state.step"
        for name, held in group._arrays().items():
            arrays = [entry.state[name] for entry in entries if name in entry.state]
            assert_same_bits(held or (), arrays)
    assert_same_sums(saved["accumulated"], model)


def assert_weights(weights: Any, entries: list[Entry]) -> None:
    named = weights if isinstance(weights, dict) else {entry.name: weights for entry in entries}
    assert named == {entry.name: entry.ema_weight for entry in entries}


def assert_same_sums(accumulated: dict[str, Any], model: Model) -> None:
    assert (accumulated["count"], accumulated["weight"]) == (model.waiting, model.weight)
    if not model.waiting:
        return
    assert accumulated["frozen"] == [entry.name for entry in model.entries if entry.frozen_then]
    assert list(accumulated["sum"]) == model.names
    for entry in model.entries:
        array = accumulated["sum"][entry.name]
        assert (array is not None) == entry.added
        if entry.added:
            assert_same_bits(array, entry.total)
