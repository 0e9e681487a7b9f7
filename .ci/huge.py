"""More than 2**31 elements in one array (DeepSpeed#7640, apex#1825: silently not updated).

The gradient is zero but for a few elements, so that its pages need no memory; the parameter takes
8.6 GB. Every element is looked at.
"""

import numpy as np

import fastopt
from fastopt.reference.dropout import keep_mask

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

# The decisions on all elements, in packed bits and made by dropout in place; the first ones also as
# the reference has them. (What is special behind 2**31 is the number of the block alone.)
DROPPED, SEED = 0.25, 5
bits = fastopt.dropout_mask(SIZE, DROPPED, seed=SEED)
expected = keep_mask(2**20, DROPPED, seed=SEED)
assert (np.unpackbits(bits[: 2**17], bitorder="little") == expected).all()
params = np.full(SIZE, 0.75, np.float32)
fastopt.dropout(params, DROPPED, seed=SEED, out=params)
for begin in range(0, SIZE, 2**28):
    keep = np.unpackbits(bits[begin // 8 : (begin + 2**28) // 8], bitorder="little")
    part = params[begin : begin + 2**28]
    assert (part == keep[: part.size].astype(np.float32)).all(), begin
share = 1 - np.count_nonzero(params) / SIZE
assert abs(share - DROPPED) < 1e-4, share
print(f"{SIZE:,} elements, dropout: bits and elements agree, {share:.6f} dropped")
