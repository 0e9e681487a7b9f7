"""More than 2**31 elements in one array (DeepSpeed#7640, apex#1825: silently not updated).

The gradient is zero but for a few elements, so that its pages need no memory; the parameter takes
8.6 GB. Every element is looked at.
"""

import numpy as np

import fastopt

SIZE = 2**31 + 4099
MARKS = np.array([0, 1, 2**31 - 1, 2**31, 2**31 + 1, SIZE - 1])

for layout in ("contiguous", "reversed"):
    params = np.zeros(SIZE, np.float32)
    grads = np.zeros(SIZE, np.float32)
    if layout == "reversed":
        params, grads = params[::-1], grads[::-1][::-1]
    grads[MARKS] = MARKS % 7 + 1
    fastopt.sgd_step(params, grads, lr=1.0)
    assert (params[MARKS] == -grads[MARKS]).all(), layout
    assert np.count_nonzero(params) == len(MARKS), layout
    fastopt.sgd_step(params, np.broadcast_to(np.float32(1), SIZE), lr=0.5)
    assert (params[MARKS] == -grads[MARKS] - 0.5).all(), layout
    assert np.count_nonzero(params == -0.5) == SIZE - len(MARKS), layout
    del params, grads
    print(f"{SIZE:,} elements, {layout}: every one updated")
