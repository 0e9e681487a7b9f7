"""What of an optimizer can be read and set between steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastopt import _core
from fastopt.optimizers.entries import Grouping, Params, grouping_of, is_group, with_penalties
from fastopt.optimizers.group import Group, Groups
from fastopt.optimizers.held import Held
from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS, Options, public
from fastopt.optimizers.state_checks import checked_count
from fastopt.tree import LikeParams, Tree, as_array

GROUP_DEFAULTS = {"frozen": False, **TERM_DEFAULTS}


def no_state(params: Any) -> None:
    """Make the state of a rule that has none."""


class Settings:
    """Parameters, groups, options: what an optimizer is made of."""

    rule: str
    """The name of the rule: ``"adam"`` for ``adam_step``."""
    _never_negative: tuple[str, ...] = ()
    """The arrays of the state that hold no negative numbers: squares and magnitudes."""
    _new_state: Callable[..., Any] = staticmethod(no_state)
    """Returns the state of the rule for some arrays, or None where it has none."""

    def __init__(self, params: Params, *, state: Any = None, **options: Any) -> None:
        name = type(self).__name__
        if not hasattr(self, "rule"):
            raise TypeError(f"{name}: it has no rule; a class such as fastopt.Adam has one")
        names = _core.rules[self.rule].options
        for option in names:
            if option not in options:
                raise TypeError(f"{name}: {option} is missing, an option of the rule {self.rule}")
        of_rule = {option: options.pop(option) for option in names}
        known = {**of_rule, **TERM_DEFAULTS, **SHARED_DEFAULTS}
        for option in options:
            if option not in known:
                there = f"; there are {', '.join(known)}"
                there = _core.instead_of(self.rule, option) or there
                raise TypeError(f"{name}: there is no option {option!r}{there}")
        terms = {key: options.get(key, default) for key, default in GROUP_DEFAULTS.items()}
        shared = {key: options.get(key, default) for key, default in SHARED_DEFAULTS.items()}
        grouping, of_groups = with_penalties(name, grouping_of(name, params), {**terms, **of_rule})
        self._held = Held(
            name,
            self.rule,
            self._new_state,
            self._divided(grouping),
            of_groups,
            shared,
            state,
            self._never_negative,
        )

    def _divided(self, grouping: Grouping) -> Grouping:
        """Divide groups further, where a rule has more than one way."""
        return grouping

    @property
    def params(self) -> LikeParams:
        """The parameters, as they were given: a tree, or a list of the trees of all groups.

        To set it has the effect of ``step(params=...)``, without a step: other arrays of the same
        names, shapes and dtypes are the parameters from now on, and new names join in.
        """
        return self._held.params

    @params.setter
    def params(self, params: Tree) -> None:
        self._held.set_params(f"{type(self).__name__}.params", params)

    @property
    def groups(self) -> Groups:
        """The options of every group, by number or by pattern: ``opt.groups[0]["lr"] = 1e-4``."""
        return self._held.groups

    @property
    def options(self) -> Options:
        """The options that all groups have in common: ``opt.options["clip_norm"] = 1.0``."""
        return self._held.options

    @property
    def names(self) -> tuple[str, ...]:
        """The dotted names of all arrays, in the order of the tree."""
        return self._held.names

    @property
    def frozen(self) -> tuple[str, ...]:
        """The names of the arrays that steps leave as they are."""
        alone = self._held.frozen()
        whole = [name for group in self.groups if group["frozen"] for name in group.names]
        return tuple(name for name in self.names if name in alone or name in whole)

    @property
    def step_count(self) -> int:
        """The updates made so far, which schedules see. It can be set."""
        return self._held.count.steps

    @step_count.setter
    def step_count(self, value: int) -> None:
        self._held.count.steps = checked_count(type(self).__name__, "step_count", value)

    def current(self) -> tuple[dict[str, Any], ...]:
        """Return the numbers that the next step will use, for logs: of each group a dict.

        Schedules are evaluated at :attr:`step_count`. A dict has the options of the group, and
        those that all groups have in common.

        Returns
        -------
        tuple of dict

        Raises
        ------
        TypeError, ValueError
            If a schedule returns what is no number, or is out of range.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> opt = fastopt.SGD(np.ones(2), lr=fastopt.schedules.Cosine(0.1, steps=100))
        >>> opt.step(np.ones(2))
        >>> [round(numbers["lr"], 6) for numbers in opt.current()]
        [0.099975]
        """
        step = self.step_count
        shared = self.options._now(step)
        shared = {name: shared[name] for name in shared if name not in ("accumulation", "drop")}
        return tuple({**group._now(step), **shared} for group in self.groups)

    def freeze(self, pattern: str) -> None:
        """Keep the arrays whose names match a pattern as they are, from the next step on.

        No update, no decay; state and average stand still, and the count of updates stays behind.
        Their gradients may be None; what they are is in no norm.

        Parameters
        ----------
        pattern : str
            One of :mod:`fnmatch` for dotted names, such as ``"layer1.*"``. Names of all groups
            count.

        Raises
        ------
        ValueError
            If no name matches.
        RuntimeError
            While another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> params = {"layer1": {"w": np.ones(2)}, "layer2": {"w": np.ones(2)}}
        >>> opt = fastopt.SGD(params, lr=0.5)
        >>> opt.freeze("layer1.*")
        >>> opt.step({"layer1": None, "layer2": {"w": np.ones(2)}})
        >>> params["layer1"]["w"], params["layer2"]["w"], opt.frozen
        (array([1., 1.]), array([0.5, 0.5]), ('layer1.w',))
        >>> opt.unfreeze("*")
        """
        self._held.change_frozen(f"{type(self).__name__}.freeze", pattern, True)

    def unfreeze(self, pattern: str) -> None:
        """Let the arrays whose names match a pattern go on from where they were.

        Parameters
        ----------
        pattern : str
            As in :meth:`freeze`. Of a group with ``"frozen": True`` the others stay frozen.

        Raises
        ------
        ValueError
            If no name matches.
        RuntimeError
            While another call of the same optimizer is under way.
        """
        self._held.change_frozen(f"{type(self).__name__}.unfreeze", pattern, False)

    def add_group(self, group: dict[str, Any]) -> None:
        """Add a group to an optimizer that was made with a list of groups.

        Parameters
        ----------
        group : dict
            ``{"params": tree, ...}``, with the options that differ from those of the optimizer.
            Its state begins at step 0. Gradients are a list with one more tree from now on.

        Raises
        ------
        TypeError, ValueError
            If it is no group, an option is unknown or out of range, an array cannot be updated or
            belongs to another group; if the optimizer was not made with a list of groups, or
            accumulated gradients are waiting. Nothing has been changed then.
        RuntimeError
            Within :meth:`averaged`, or while another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> opt = fastopt.SGD([{"params": np.ones(2)}], lr=0.5)
        >>> opt.add_group({"params": np.ones(3), "lr": 0.1})
        >>> [group["lr"] for group in opt.groups]
        [0.5, 0.1]
        """
        where = f"{type(self).__name__}.add_group"
        if not is_group(group):
            raise TypeError(f"{where}: group must be a dict with 'params', not {group!r:.100}")
        self._held.add_group(where, group)

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get("_held")
        for place, options in (("groups[...]", "defaults"), ("options", "options")):
            if held and name in getattr(held, options):
                raise AttributeError(
                    f"{type(self).__name__}: {name} is an option, and set by "
                    f"opt.{place}[{name!r}] = ..."
                )
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return public(super().__dir__())

    def __repr__(self) -> str:
        leaves = [entry for group in self.groups for entry in group._entries]
        count = sum(as_array("repr", name, leaf).size for name, leaf in leaves)
        head = f"{count:,} parameters in {len(self.names)} arrays, step_count={self.step_count}"
        if self.rule != type(self).rule:
            head += f", {self.rule}"
        lines = [f"{type(self).__name__}({head}"]
        if shared := self.options._shown(SHARED_DEFAULTS):
            lines.append(f"  {shared}")
        of_class = {**GROUP_DEFAULTS, **_defaults_of(type(self))}
        given = self._held.defaults
        for i, group in enumerate(self.groups):
            shown = group._shown(of_class, given | {"lr": None})
            lines.append(f"  groups[{i}]: {_listed(group)}: {shown}")
        if alone := self._held.frozen():
            lines.append(f"  frozen: {', '.join(alone)}")
        return "\n".join(lines) + ")"


def _defaults_of(optimizer: type) -> Mapping[str, Any]:
    """Return the defaults of a class, and of those that it hands its options on to."""
    found: dict[str, Any] = {}
    for each in reversed(optimizer.__mro__):
        if "__init__" in vars(each) and each is not object:
            parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def _listed(group: Group, most: int = 6) -> str:
    """Return the names of a group; of many the first."""
    names = list(group.names[:most])
    if len(group.names) > most:
        names.append(f"... ({len(group.names)} arrays)")
    return ", ".join(names)
