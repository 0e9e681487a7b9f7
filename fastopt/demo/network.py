"""A network with one hidden layer, forward and backward, in plain NumPy.

::

    h = relu(x @ W1 + b1)                          the hidden layer
    z = h @ W2 + b2                                the scores of the classes (logits)
    q = softmax(z)                                 their probabilities
    loss = -mean(log(q[label]))                    cross-entropy

In training, dropout may come between the hidden layer and the next line. One image is one row. The
functions work in the dtype of the parameters: float32 in the demo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Params = dict[str, Array]

WEIGHTS = ("W1", "W2")
INPUTS_AXIS = 0
"""The axis of a weight matrix along which the incoming weights of one unit lie."""


@dataclass
class Dropout:
    """What :class:`fastopt.Dropout` is to the kernels, with `fastopt` or its `reference`."""

    library: Any
    p: float
    """The share that is dropped."""
    seed: int
    offset: int = 0
    """The number of the mask, which the two directions must share."""

    def forward(self, h: Array) -> None:
        self.library.dropout(h, self.p, seed=self.seed, offset=self.offset, out=h)

    def backward(self, dh: Array) -> None:
        self.library.dropout_backward(dh, self.p, seed=self.seed, offset=self.offset, out=dh)


def init_params(
    rng: np.random.Generator, inputs: int = 784, hidden: int = 512, classes: int = 10
) -> Params:
    """Draw weights whose variance keeps that of the signal through a ReLU (He et al. 2015).

    ``W1`` (inputs, hidden), ``b1`` (hidden), ``W2`` (hidden, classes), ``b2`` (classes): float32.
    """

    def weights(fan_in: int, fan_out: int) -> Array:
        return rng.standard_normal((fan_in, fan_out), np.float32) * np.float32(np.sqrt(2 / fan_in))

    return {
        "W1": weights(inputs, hidden),
        "b1": np.zeros(hidden, np.float32),
        "W2": weights(hidden, classes),
        "b2": np.zeros(classes, np.float32),
    }


def forward(params: Params, x: Array, dropout: Dropout | None = None) -> tuple[Array, Array]:
    """Return the hidden layer ``h``, after `dropout`, and the logits ``z`` of the images `x`."""
    h = x @ params["W1"]
    h += params["b1"]
    np.maximum(h, 0, out=h)
    if dropout:
        dropout.forward(h)
    z = h @ params["W2"]
    z += params["b2"]
    return h, z


def backward(
    params: Params, grads: Params, x: Array, labels: Array, dropout: Dropout | None = None
) -> float:
    """Write the gradients of the loss into `grads` and return the loss.

    `grads` has arrays like those of `params`. One row of `x` is an image, and `labels` are the
    classes. The loss is the mean over the batch.
    """
    h, z = forward(params, x, dropout)

    # Softmax does not change if all logits are shifted; with the largest at 0, exp cannot overflow.
    z -= z.max(axis=1, keepdims=True)
    q = np.exp(z)
    total = q.sum(axis=1, keepdims=True)
    q /= total
    rows = np.arange(len(labels))
    # log(total) - z is -log(q) without the logarithm of a q that has underflowed to 0.
    loss = float(np.mean(np.log(total[:, 0]) - z[rows, labels]))

    dz = q  # the gradient of cross-entropy after softmax is (q - one_hot(labels)) / batch
    dz[rows, labels] -= 1
    dz /= len(labels)
    np.matmul(h.T, dz, out=grads["W2"])
    np.sum(dz, axis=0, out=grads["b2"])

    dh = dz @ params["W2"].T
    if dropout:
        dropout.backward(dh)
    dh *= h > 0  # the derivative of ReLU
    np.matmul(x.T, dh, out=grads["W1"])
    np.sum(dh, axis=0, out=grads["b1"])
    return loss


def drawn_labels(params: Params, x: Array, rng: np.random.Generator) -> Array:
    """Draw a label for each row of `x` as the network predicts them, for estimates of a Hessian."""
    _, z = forward(params, x)
    q = np.exp(z - z.max(axis=1, keepdims=True))
    shares = np.cumsum(q / q.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(np.sum(rng.random((len(q), 1)) > shares[:, :-1], axis=1))


def accuracy(params: Params, x: Array, labels: Array) -> float:
    """Return the share of the images `x` whose class gets the largest logit."""
    _, z = forward(params, x)
    return float(np.mean(z.argmax(axis=1) == labels))
