# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""Skip-gram with negative samples, in a loop without the GIL."""

cimport fastopt
from libc.math cimport exp, log1p
from libc.stdint cimport int32_t, int64_t

import numpy as np

fastopt.fastopt_import()

cdef int ADAM = fastopt.find_rule(b"adam")
cdef enum:
    MOST = 1024  # elements of a vector


cdef class Rows:
    """A Table, as C sees it."""

    cdef float[:, ::1] vectors
    cdef float[:, :, ::1] moments
    cdef int64_t[::1] counts

    def __init__(self, table):
        self.vectors, self.moments, self.counts = table.vectors, table.moments, table.counts
        if np.shape(table.moments) != (2, *np.shape(table.vectors)):
            raise ValueError("moments must be two arrays like the vectors")
        if len(table.counts) != len(table.vectors):
            raise ValueError("counts must be one for each vector")

    cdef void update(self, Py_ssize_t row, const float *grad, const double *options) noexcept nogil:
        cdef void *state[2]
        state[0], state[1] = &self.moments[0, row, 0], &self.moments[1, row, 0]
        fastopt.update(
            ADAM, fastopt.FASTOPT_FLOAT32, self.vectors.shape[1], &self.vectors[row, 0], grad,
            state, NULL, self.counts[row], options)
        self.counts[row] += 1


def options_of(double lr):
    """Return the options of Adam as doubles in their order: the defaults, but for lr."""
    options = np.zeros(fastopt.FASTOPT_MAX_OPTIONS)
    for i in range(fastopt.FASTOPT_MAX_OPTIONS):
        options[i] = fastopt.option_default(ADAM, i)
    options[0] = lr
    return options


def train(model, const int32_t[:, ::1] samples, double lr):
    """Learn from all rows of `samples`; return the mean loss."""
    cdef Rows words = Rows(model.words), contexts = Rows(model.contexts)
    cdef double[::1] options = options_of(lr)
    cdef Py_ssize_t length = words.vectors.shape[1], i, k, place
    cdef float grad[MOST]
    cdef float grad_of_context[MOST]
    cdef float *vector
    cdef float *context
    cdef float dot, error
    cdef double score, slope, loss = 0
    if length > MOST or contexts.vectors.shape[1] != length or len(model.contexts.counts) != len(
            model.words.counts):
        raise ValueError(f"vectors must have one length, of at most {MOST}, and be as many")
    if np.size(samples) == 0 or np.min(samples) < 0 or np.max(samples) >= len(words.vectors):
        raise ValueError("samples must be numbers of words, and some")
    # What the caller of `update` guarantees is checked once.
    cdef void *state[2]
    state[0], state[1] = &words.moments[0, 0, 0], &words.moments[1, 0, 0]
    if fastopt.check_update(
            ADAM, fastopt.FASTOPT_FLOAT32, length, &words.vectors[0, 0], grad, state, NULL,
            words.counts[0], &options[0]) != fastopt.FASTOPT_OK:
        raise ValueError(fastopt.message().decode())
    with nogil:
        for i in range(samples.shape[0]):
            vector = &words.vectors[samples[i, 0], 0]
            for k in range(length):
                grad[k] = 0
            for place in range(1, samples.shape[1]):
                context = &contexts.vectors[samples[i, place], 0]
                dot = 0
                for k in range(length):
                    dot += vector[k] * context[k]
                score = dot if place == 1 else -dot
                loss += log1p(exp(-score))
                slope = -1 / (1 + exp(score))
                error = <float>(slope if place == 1 else -slope)
                for k in range(length):
                    grad[k] += error * context[k]
                    grad_of_context[k] = error * vector[k]
                contexts.update(samples[i, place], grad_of_context, &options[0])
            words.update(samples[i, 0], grad, &options[0])
    return loss / samples.shape[0]
