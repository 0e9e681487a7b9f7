"""Calls that type checkers must find: each line that is no more than a call is an error."""

import numpy as np

import fastopt

w = np.ones(3)
numbers = [1.0, 2.0]
nested = {"layers": [1.0, 2.0]}
opt = fastopt.Adam(w)

# No trees of arrays
fastopt.sgd_step(numbers, [w, w])
fastopt.sgd_step([w, w], numbers)
fastopt.sgd_step([1.0, 2.0], [1.0, 2.0])
fastopt.sgd_step({"w": 1.0}, {"w": w})
fastopt.sgd_step(nested, nested)
fastopt.sgd_step(1.0, w)
fastopt.sgd_step(w, np.float64(1.0))
fastopt.sgd_step([w, 1.0], [w, w])
fastopt.sgd_step(w, None)
fastopt.sgd_step(w, w, mask=[1.0])
fastopt.sgd_step(w, w, update_mask=True)
fastopt.sgd_step(w, w, ema={"w": None})
fastopt.adam_init(numbers)
fastopt.momentum_init({"w": 1.0})
fastopt.rmsprop_init(None)
fastopt.SGD(numbers)
fastopt.Adam({"w": 1.0})
fastopt.groups(numbers, {})
opt.step(numbers)
opt.step([1.0])
opt.accumulate(nested)
opt.step(w, mask=1.0)
fastopt.global_norm(numbers)
fastopt.penalty(nested, l2=1.0)
fastopt.sparsity(1.0)
fastopt.max_norm(numbers, 1.0)
fastopt.save("run.npz", params=numbers)
fastopt.load("run.npz", params=numbers)

# Options
fastopt.sgd_step(w, w, l2=None)
fastopt.sgd_step({"w": w}, {"w": w}, l2={"w": None})
fastopt.sgd_step(w, w, lr="0.1")
fastopt.sgd_step(w, w, nonneg=0.5)
fastopt.sgd_step(w, w, drop=0.5)
fastopt.sgd_step(w, w, lr=fastopt.schedules.Cosine(0.1, steps=10))
fastopt.sgd_step(w, w, None, 0.1)
fastopt.Adam(w, 0.1)
fastopt.SGD(w, lr="0.1")
fastopt.Momentum(w, momentum=None)
fastopt.AdamW(w, weight_decay=None)
fastopt.AdamW(w, beta1="0.9")
fastopt.RMSprop(w, drop=0.5)
fastopt.Prodigy(w, beta3=None)
fastopt.Prodigy(w, per_array=2.0)
opt.step(w, lr=[0.1])
opt.step(w, lrr=0.1)
opt.step(w, frozen=True)

# States
fastopt.sgd_step(w, w, fastopt.adam_init(w))
fastopt.adam_step(w, w)
fastopt.adam_step(w, w, None)
fastopt.adam_step(w, w, fastopt.momentum_init(w))
fastopt.prodigy_step(w, w, fastopt.adam_init(w))
fastopt.Momentum(w, state=fastopt.adam_init(w))
fastopt.AdamW(w, state=fastopt.momentum_init(w))

# What is handed out
fastopt.sgd_step(w, w, clip_norm=1.0).norm.hex()
opt.step(w).norm.hex()
fastopt.adam_init(w).n.clear()
opt.lr.hex()
