"""Calls that type checkers must let pass, in their strictest mode."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

import fastopt
from fastopt.schedules import Cosine
from fastopt.tree import Tree

Array = NDArray[np.float32]


@dataclass(slots=True)
class Layer:
    w: Array
    b: Array


class Pair(NamedTuple):
    w: Array
    b: Array


class Model(TypedDict):
    encoder: Layer
    heads: list[Array]


w = np.ones(3, np.float32)
flat: dict[str, Array] = {"w": w}
nested: dict[str, list[dict[int, Array]]] = {"layers": [{0: w}]}
mapping: Mapping[str, Sequence[Array]] = {"layers": (w, w)}
mixed: dict[str, Any] = {"w": w, "layers": [w]}
model: Model = {"encoder": Layer(w, w), "heads": [w]}


# Trees
def with_all(tree: Tree) -> None:
    fastopt.sgd_step(tree, tree)
    fastopt.adam_step(tree, tree, fastopt.adam_init(tree))
    fastopt.SGD(tree, ema_decay=0.9).step()
    fastopt.global_norm(tree)
    fastopt.save("run.npz", params=tree)


with_all(w)
with_all(flat)
with_all(nested)
with_all(mapping)
with_all(mixed)
with_all(model)
with_all(Layer(w, w))
with_all(Pair(w, w))
with_all([w, flat, Layer(w, w), model])
with_all((w, [w]))
fastopt.SGD(flat).step(flat)
fastopt.Momentum(model).step(model)
fastopt.sgd_step({"w": w, "layers": [w, (w, w)]}, {"w": w, "layers": [w, (w, w)]})
fastopt.sgd_step(flat, flat, mask={"w": None}, update_mask={"w": w > 0}, ema=flat, ema_decay=0.9)
fastopt.sgd_step(nested, nested, l2={"layers": [{0: 0.1}]}, l1={"layers": 1}, weight_decay=0.1)

# What is handed out
adam = fastopt.adam_init(flat)
shape: tuple[int, ...] = adam.m["w"].shape
adam.v["w"][...] = 0
fastopt.rmsprop_init(flat, centered=True).avg["w"][...] = 0
opt = fastopt.AdamW(flat, lr=Cosine(0.1, steps=10), beta1=0.8, l2=0.1, ema_decay=0.9)
opt.params["w"][...] = opt.ema["w"]
with opt.averaged() as averages:
    total: float = averages["w"].sum()
opt.groups[0]["lr"] = 0.1
opt.groups[0].state.m[0][...] = 0

# What steps return
norm: float = fastopt.adam_step(flat, flat, adam, clip_norm=1.0).grad_norm
skipped: bool = opt.step(flat).skipped
certain: fastopt.StepResult = opt.step(flat, clip_norm=1.0, lr=0.1)
certain = opt.step(flat, clip_tensor_norm=1.0, skip_nonfinite=False)
certain = opt.step(flat, skip_nonfinite=True, clip_norm=None, params=flat)
maybe: fastopt.StepResult | None = fastopt.sgd_step(flat, flat)
if maybe is not None:
    norm = maybe.grad_norm

# What loading returns
missing: tuple[str, ...] = opt.load_state_dict(opt.state_dict(), strict=False).missing
missing = fastopt.load("run", params=flat, optimizer=opt, options="keep", strict=False).missing
epoch: int = fastopt.load("run", params=flat, optimizer=opt)["epoch"]

# Groups
fastopt.SGD([{"params": w, "lr": 0.1}, {"params": flat, "frozen": True}]).step([w, None])
fastopt.Adam(fastopt.groups(nested, {"layers.*": {"lr": 0.1}})).accumulate(nested)


# Tensors of other libraries
class Tensor:
    def __dlpack__(self, *, stream: int | None = None, copy: bool | None = None) -> object: ...


tensor = Tensor()
with_all([tensor, w])
fastopt.Adam({"w": tensor}).step({"w": tensor})
fastopt.adam_step([tensor], [None], fastopt.adam_init([tensor]))


# Any class
def make(kind: type[fastopt.Optimizer], params: Array) -> fastopt.Optimizer:
    return kind(params, lr=0.1, l2=1e-4)


for kind in (fastopt.SGD, fastopt.Momentum, fastopt.Adam, fastopt.AdamW, fastopt.RMSprop):
    make(kind, w).step(w)
