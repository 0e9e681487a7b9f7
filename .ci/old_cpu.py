"""Run on an emulated processor without AVX: the baseline alone must be chosen, and work."""

import numpy as np

import fastopt

assert fastopt.info()["available_isas"] == ["baseline"], fastopt.info()
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    p, g = rng.standard_normal((2, 1000)).astype(dtype)
    q, other = p.copy(), fastopt.adam_init(p)
    state = fastopt.adam_init(p)
    fastopt.adam_step(p, g, state, l1=0.1, weight_decay=0.1, mask=g > 0, keep_prob=0.5)
    fastopt.reference.adam_step(q, g, other, l1=0.1, weight_decay=0.1, mask=g > 0, keep_prob=0.5)
    assert p.tobytes() == q.tobytes()
print("baseline kernels run without AVX")
