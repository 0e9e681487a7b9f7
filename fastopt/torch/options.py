"""What the classes take besides torch's own options, and the words that say so."""

from __future__ import annotations

from fastopt.torch.optimizer import OptimizerOptions

OPTIONS = """
Parameters
----------
params : iterable of tensors, or of dicts with ``"params"``
    Dense tensors of float32 or float64 in the memory of the host, of any layout. Changed in place.
{torchs}, maximize
    As in ``torch.optim.{name}``. `foreach`, and `fused` where it is there, are taken and change
    nothing: every step is fused. `lr` may be a tensor without axes.
{refused}
    Refused where they are True.
{own}l1, l1_prox : float, default 0.0, >= 0
    L1 penalty, by subgradient or proximal, which makes exact zeros. Like the next two they may
    differ from group to group.
nonneg : bool, default False
    Keep the parameters non-negative.
clip_value : float or None, default None, > 0
    Elements of the gradient are kept within ``[-clip_value, clip_value]``.
clip_norm, clip_tensor_norm : float or None, default None, > 0
    The norm that all gradients together, or each by itself, may have at most. These and the
    following are common to all groups: ``opt.options["clip_norm"] = 1.0``.
clip_eps : float, default 1e-6, >= 0
    What is added to a norm before it divides.
skip_nonfinite : bool or "raise", default False
    Leave out steps whose gradients have an infinity or a NaN.
ema_decay : float or None, default None, in [0, 1]
    Keep averages of the parameters; `averaged` puts them in place of these. They are
    saved under ``"ema"`` in the state of each parameter.
flush_denormals, threads
    As in the steps of fastopt.

Raises
------
TypeError, ValueError
    If a parameter could not be updated in place, or a number is out of range.

Notes
-----
The formula and its source are those of :class:`fastopt.{ours}`. The result differs from that of
torch by rounding alone; the order of its operations is not torch's. Half, complex and sparse
tensors are refused.{notes}

Examples
--------
>>> import torch
>>> from fastopt.torch import {name}
>>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
>>> opt = {name}([w], lr=0.5)
>>> (w**2).sum().backward()
>>> opt.step()
>>> w.detach()
{result}
"""


SCALED = """\
scaled_prox : bool, default False
    The threshold of `l1_prox` is divided by the metric of the rule, element by element.
"""


ADAM = """\
epsilon_hat : bool, default False
    The form of Keras and TensorFlow, in which `eps` is added to the uncorrected root.
"""


CAUTIOUS = """\
cautious : bool, default False
    Change an element only where its step agrees in sign with its gradient, as `cautious` of the
    class of fastopt. The same in all groups.
"""


RADAM = """\
epsilon_hat : bool, default True
    Add `eps` to the uncorrected root, as torch does; with False to the corrected one, as optax.
"""


EPS_INSIDE_SQRT = """\
eps_inside_sqrt : bool, default False
    Add `eps` before the root is taken, as Keras and optax do.
"""


ADAMAX = """\
eps_outside_max : bool, default False
    Add `eps` to the maximum instead of the magnitudes that it is of, as Keras does.
"""


class ScaledOptions(OptimizerOptions, total=False):
    """What rules with a metric take besides."""

    scaled_prox: bool


class CautiousOptions(ScaledOptions, total=False):
    cautious: bool


class AdamOptions(CautiousOptions, total=False):
    epsilon_hat: bool


class RootOptions(ScaledOptions, total=False):
    eps_inside_sqrt: bool


class AdamaxOptions(ScaledOptions, total=False):
    eps_outside_max: bool
