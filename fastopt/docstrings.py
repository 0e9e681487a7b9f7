"""The parts of docstrings that many functions and classes share, written once, and put together.

A step's own docstring has its formula, the options of its rule, notes and an example; a class adds
an example of its own to what the step says. Other functions leave out what is said here already.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastopt.options import DEFAULTS, StepOptions

Function = TypeVar("Function", bound=Callable[..., object])
Class = TypeVar("Class", bound=type)

ARRAYS = """\
params : array, or nested lists, tuples, dicts and dataclass instances of arrays
    The parameters: float32 or float64, any shape, writeable. Changed in place. All fields of a
    dataclass are entries.
grads : like `params`
    Their gradients: same structure, shapes and dtypes. Not changed, unless `zero_grads`. For a
    dataclass a dict with the names of its fields will do. Where an entry, or a whole branch, is
    None, that array is left out altogether: parameter, state, `ema`, norm, decay; its count of
    updates stays behind. That of a parameter without axes may be a NumPy scalar of its dtype, or a
    float or int.
"""

TERMS = """\
l1 : float, default 0.0, >= 0
    L1 penalty by subgradient: ``g += l1 * sign(p)``, of the penalty ``l1 * sum(abs(p))``.
    Weights come close to zero but seldom stay there; `l1_prox` makes exact zeros.
    For this and the three other penalties, numbers in the structure of `params` give every
    entry its own: ``l2={"w": 1e-4, "b": 0.0}``; one may stand for a whole branch.
l2 : float, default 0.0, >= 0
    L2 penalty: ``g += l2 * p``, of the penalty ``l2/2 * sum(p**2)``. A text that writes
    ``lam * sum(p**2)`` has ``l2 = 2*lam``. With `l1`: elastic net.
weight_decay : float, default 0.0, >= 0
    Decoupled weight decay (AdamW, Loshchilov & Hutter 2019): ``p -= lr * weight_decay * p``,
    before the rule. It bypasses the rule, so in Adam it is not the same as `l2`.
decay_after : bool, default False
    Decay after the rule instead, as thinc and ONNX do.
l1_prox : float, default 0.0, >= 0
    Proximal L1 (soft thresholding) after the rule, which makes exact zeros:
    ``p = sign(p) * max(abs(p) - lr*l1_prox, 0)``. Decoupled from the rule like
    `weight_decay`: the threshold is the same for all weights. (Rules that divide
    by a metric, as Adam and RMSprop do, have `scaled_prox` too.)
nonneg : bool, default False
    Keep the parameters non-negative: ``p = max(p, 0)`` after all this (projection).
grad_scale : float, default 1.0, finite
    The gradient is multiplied by this first: 1/loss scale, 1/batch size, a clipping factor.
maximize : bool, default False
    Ascend: the gradient is negated first.
mask : like `params`, of bool or uint8, or None
    DropConnect (Wan et al. 2013): where the mask is zero the gradient becomes 0, elsewhere
    it is multiplied by ``1/keep_prob``. Penalties, decay and the rule act on all elements.
    An array may also hold packed bits, as :func:`dropout_mask` and
    ``np.packbits(..., bitorder="little")`` make them: contiguous uint8 of shape
    ``((p.size + 7) // 8,)``.
    An entry that is None has no mask.
keep_prob : float, default 1.0, in (0, 1]
    The share of elements that `mask` keeps; other than 1 it needs a mask.
drop : Dropout or None
    DropConnect with a mask that is made block by block and never stored whole: entry k has
    that of ``dropout_mask(p.shape, drop.p, seed=drop.seed, offset=drop.offset + k)``. Adds
    the number of entries to ``drop.offset``. With ``drop.training`` False nothing is dropped
    and nothing counted. Not together with `mask`. (For an array that is not C-contiguous, the
    mask is made beforehand, by one thread, with a byte for each element.)
update_mask : like `params`, of bool or uint8 or in packed bits, or None
    Where it is zero nothing changes: no parameter, no state, no `ema`, for all decay and
    penalties. It freezes a part of an array, whose gradient is in no norm and need not be
    finite. An entry that is None changes everywhere.
zero_grads : bool, default False
    Leave the gradients at zero, in the same pass over memory.
clip_norm : float or None, default None, > 0
    Clip by the global norm (Pascanu et al. 2013): all gradients are multiplied by
    ``min(1, clip_norm / (norm + clip_eps))``, where ``norm`` is :func:`global_norm` of the
    gradients after masks and `grad_scale`. The factor goes into `grad_scale`; only the norm is a
    pass over the gradients of its own.
clip_tensor_norm : float or None, default None, > 0
    The same for the norm of each array alone, as Keras' ``clipnorm`` and thinc do (with
    ``clip_eps=0``). Not together with `clip_norm`.
clip_eps : float, default 1e-6, >= 0
    torch's value; 0 for Keras and optax, which have none.
clip_value : float or None, default None, > 0
    After scaling: ``g = min(max(g, -clip_value), clip_value)``.
ema : like `params`, or None
    An exponential moving average of the parameters, changed in place in the same pass, with
    the new parameters: ``ema = ema + w*(p - ema)`` with ``w = 1 - ema_decay``, or where w is
    0.5 or more ``ema = p - (1 - w)*(p - ema)``, as torch's ``lerp``: the average of a constant
    is that constant, exactly. Start it as a copy; where w is 1 it becomes one.
ema_decay : float or None, default None, in [0, 1]
    The share of `ema` that is kept; to be given with it.
skip_nonfinite : bool or "raise", default False
    If a gradient is not finite, change no parameter, no state, not even the step count, and say
    so; with "raise" as FloatingPointError. With `zero_grads` the gradients become zero all the
    same. Not finite is also what is, after scaling and clipping, so large that its dtype
    cannot hold its square (1.8e19 in float32): second moments would be infinite for ever.
flush_denormals : bool, default False
    During the step, count numbers too small for full precision (below 1.2e-38 in float32,
    2.2e-308 in float64) as zero wherever they occur; without it, states and `ema` alone become
    zero there. A step can take 20 times as long where gradients are so small, or their squares,
    as of gradients of 1e-20 in float32, or parameters that meet `l2` or `ema`. The one option
    that gives up the bits of the reference. It has no effect but on x86-64 and 64-bit ARM,
    built with gcc or clang.
threads : int or None, default None
    The most threads to use; None means :func:`fastopt.get_num_threads`. The result has the
    same bits for any number.
"""

RESULT = """\
StepResult or None
    None, or with `clip_norm`, `clip_tensor_norm` or `skip_nonfinite` what was found out:
    ``skipped``, ``grad_norm``, ``nonfinite``.
"""

STEP_RAISES = """\
TypeError
    If an argument is of the wrong kind: a list or number where an array belongs, another dtype
    (also byte-swapped), a masked array, another structure, the state of another rule.
ValueError
    If a number is outside of its range, if shapes or keys differ, if an output is read-only,
    an array is misaligned or memory overlaps. The message names function, argument and entry.
    Also if the dtype of an entry cannot hold a number: if `lr` or a penalty is infinite in it, or
    `eps` zero. Nothing has been changed then, not even the step count.
FloatingPointError
    With ``skip_nonfinite="raise"``, if a gradient is not finite. Nothing has been changed then.
"""

SCALED_PROX = """\
scaled_prox : bool, default False
    Divide the threshold of `l1_prox` by what the rule divides the gradient by. That is the
    proximal step in the metric of the rule, whose fixed points minimise the loss plus
    ``l1_prox * sum(abs(p))``, as those of proximal SGD do: for feature selection, and whenever
    the objective matters. (Where RMSprop has momentum, steps become 1/(1 - momentum) times as
    long and the threshold does not: it is ``(1 - momentum)*l1_prox`` then.) With False all
    weights shrink by ``lr*l1_prox`` alike, as `weight_decay` shrinks them alike: for pruning.
    That is not the minimum of the L1 penalty: in Adam a weight stays at zero while
    ``abs(m) <= l1_prox*(sqrt(v) + eps)``, so `l1_prox` is a number between 0 and 1 then.
"""

INIT_PARAMS = """\
params : array, or nested lists, tuples, dicts and dataclass instances of arrays
    The parameters to be optimized: float32 or float64, of any shape. They are not changed.
"""

INIT_RAISES = """\
TypeError, ValueError
    If an entry of `params` could not be updated in place, or a number is out of range; the message
    names it.
"""

PARAMS = """\
params : tree, list of groups, or result of :func:`fastopt.groups`
    The parameters: float32 or float64 arrays, alone or in nested dicts, lists, tuples and
    dataclass instances. Or groups with options of their own,
    ``[{"params": tree, "lr": 0.1}, ...]``, whose gradients are a list with a tree for each;
    ``"frozen": True`` keeps a group as it is. The arrays are checked once and held; they are
    changed in place by steps.
"""

COMMON = """\
l1, l2, weight_decay, decay_after, l1_prox, nonneg, maximize, clip_value
    Terms of the step, for each group: see :func:`fastopt.{STEP}`. Penalties may be trees of
    numbers here too, ``l2={"w": 1e-4, "b": 0.0}``: entries with the same ones are a group then.
clip_norm, clip_tensor_norm, clip_eps, skip_nonfinite, zero_grads, flush_denormals, threads
    As in :func:`fastopt.{STEP}`, for all groups together: there is one global norm.
drop : Dropout or None, default None
    DropConnect, with masks made during the step.
ema_decay : float, schedule or None, default None, in [0, 1]
    Keep averages of the parameters, ``ema += (1 - ema_decay)*(p - ema)`` as `ema` of
    :func:`fastopt.{STEP}`, which start as copies: see :attr:`ema` and :meth:`averaged`.
ema_debias : bool, default False
    Correct the averages for their start: the average after t steps is that of the t parameters
    since, as if divided by ``1 - ema_decay**t``; the start is not in it.
accumulation : "mean" or "sum", default "mean"
    What a step makes of the gradients that :meth:`accumulate` added.
"""

CLASS_RAISES = """\
TypeError, ValueError
    If an array could not be updated in place, arrays overlap (one array in two groups, or a
    group twice), an option is unknown or out of range, or a schedule returns a number that is. The
    message names it.
"""

NOTES = """\
Every number may be a schedule: a callable of :attr:`step_count`, such as those of
:mod:`fastopt.schedules`. It is called before each update; the first sees 0.

A step is that of :func:`fastopt.{STEP}`, bit for bit. Arrays count their updates, in
``group.state.step``: an int while all arrays of the group agree, else what looks like a tuple with
one count for each. It differs from :attr:`step_count` where arrays were frozen, had no gradient or
were added later.
"""

READ = """\
array, or nested lists, tuples, dicts and dataclass instances of arrays
    float32 or float64, any shape. They are only read.
"""

OF_MASKS = """\
p : float, in [0, 1]
    The share that is dropped, rounded to a multiple of 1/65536: 16 random bits decide on each
    element. ``keep_prob`` is 1 less the rounded `p`. With 0 nothing changes, with 1 all becomes
    zero.
seed : int, 0 <= seed < 2**64
    The key of the generator.
offset : int, default 0, 0 <= offset < 2**64
    Which mask of this seed: every number gives another one, of any length. Count up from layer
    to layer and from step to step, or let :class:`Dropout` count.
out : array like the first argument, or None
    Where the result goes: that argument itself (in place), or an array that shares no memory
    with it. A new array if None.
"""


def sections(text: str | None) -> dict[str, str]:
    """Take a docstring apart: its head is under "", each section under its title."""
    parts = re.split(r"\n(\w+)\n-+\n", inspect.cleandoc(text or ""))
    return dict(zip(["", *parts[1::2]], (part.strip("\n") for part in parts[::2]), strict=True))


def entries(text: str) -> dict[str, str]:
    """Take a list of parameters apart: each entry under its name, or under all of its names."""
    found = [part.rstrip() for part in re.split(r"^(?=\w)", text, flags=re.MULTILINE)]
    return {part.partition(" : ")[0]: part for part in found if part}


SHARED = entries(f"params : {READ}grads : {READ}{OF_MASKS}{TERMS}")
OF_STEPS = entries(f"{ARRAYS}{SCALED_PROX}{TERMS}")
OF_INITS = entries(INIT_PARAMS)


def joined(parts: dict[str, str]) -> str:
    """Put the sections of a docstring together, in the order that numpydoc wants."""
    text = parts[""]
    for title in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        if parts.get(title):
            text += f"\n\n{title}\n{'-' * len(title)}\n{parts[title].rstrip()}"
    return text + "\n"


def document(function: Function, shared: dict[str, str] = SHARED, **common: str) -> Function:
    """Add what its docstring leaves out: parameters that many functions have, common sections."""
    own = sections(function.__doc__)
    said = own.get("Parameters", "").replace("{SCALED_PROX}", "")
    told = {name: entry for names, entry in entries(said).items() for name in names.split(", ")}
    rows = [told.get(name) or shared[name] for name in inspect.signature(function).parameters]
    parts = {**own, "Parameters": "\n".join(dict.fromkeys(rows)), **common}
    function.__doc__ = joined(parts | with_own_errors(common, own))
    return function


def with_own_errors(common: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Return the section of errors: what all say, and what one says besides."""
    said = [text["Raises"].rstrip() for text in (common, own) if "Raises" in text]
    return {"Raises": "\n".join(said)} if said else {}


def document_init(function: Function) -> Function:
    """Add what all functions say that make a state."""
    return document(function, OF_INITS, Raises=INIT_RAISES)


def document_step(function: Function) -> Function:
    """Name the shared options in the signature, and add what all steps say."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    for name, default in DEFAULTS.items():
        annotation = StepOptions.__annotations__[name].__forward_arg__
        keyword = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        parameters.append(keyword)
    vars(function)["__signature__"] = signature.replace(parameters=parameters)
    return document(function, OF_STEPS, Returns=RESULT, Raises=STEP_RAISES)


def document_class(step: Callable[..., Any]) -> Callable[[Class], Class]:
    """Return what adds to a class of optimizers what its step and all of them say."""

    def document(optimizer: Class) -> Class:
        of_step, own = sections(step.__doc__), sections(optimizer.__doc__)
        formula = of_step[""].partition("\n\n")[2]
        told = entries(of_step["Parameters"])
        names = list(told)  # a step has a learning rate first, and the terms last
        options = {name: told[name] for name in names[names.index("lr") : names.index("l1")]}
        for name, entry in options.items():
            options[name] = re.sub(r"^([\w, ]+ : float)", r"\1 or schedule", entry)
        options |= entries(own.get("Parameters", ""))
        common = re.sub(rf"\b({'|'.join(options)}), ", "", COMMON)
        own[""] += f"\n\n{formula}"
        own["Parameters"] = "\n".join([PARAMS.rstrip(), *options.values(), common])
        own |= with_own_errors({"Raises": CLASS_RAISES}, own)
        own["Notes"] = f"{NOTES}\n{own.get('Notes', of_step['Notes'])}"
        optimizer.__doc__ = joined(own).replace("{STEP}", step.__name__)
        return optimizer

    return document


def append(template: str, **parts: str) -> Callable[[Class], Class]:
    """Add a text to the docstring of a class, with its own parts, and its name as ``{name}``."""

    def add(kind: Class) -> Class:
        kind.__doc__ = f"{kind.__doc__}\n{template.format(name=kind.__name__, **parts)}"
        return kind

    return add
