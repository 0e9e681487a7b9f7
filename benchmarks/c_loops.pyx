# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Loops of steps in Cython, without the GIL."""

cimport fastopt
from libc.stdint cimport int64_t

fastopt.fastopt_import()


def adam(float[::1] p, const float[::1] g, float[:, ::1] state, const double[::1] options,
         int64_t steps):
    """By pointers."""
    cdef int rule = fastopt.find_rule(b"adam")
    cdef void *arrays[2]
    cdef int64_t step
    arrays[0], arrays[1] = &state[0, 0], &state[1, 0]
    with nogil:
        for step in range(steps):
            fastopt.update(rule, fastopt.FASTOPT_FLOAT32, p.shape[0], &p[0], &g[0], arrays, NULL,
                           step, &options[0])


def adam_of_views(float[::1] p, const float[::1] g, float[:, ::1] state, const double[::1] options,
                  int64_t steps):
    """By memoryviews."""
    cdef int rule = fastopt.find_rule(b"adam")
    cdef int64_t step
    with nogil:
        for step in range(steps):
            fastopt.update_arrays(rule, p, g, state, step, options)


def adam_of_all(float[::1] p, float[::1] g, float[:, ::1] state, int64_t steps):
    """By an optimizer."""
    cdef fastopt.fastopt_optimizer *optimizer
    cdef void *arrays[2]
    cdef void *grads[1]
    cdef int64_t step
    arrays[0], arrays[1], grads[0] = &state[0, 0], &state[1, 0], &g[0]
    fastopt.new_optimizer(fastopt.find_rule(b"adam"), fastopt.FASTOPT_FLOAT32, 1, &optimizer)
    fastopt.set_array(optimizer, 0, p.shape[0], &p[0], arrays)
    with nogil:
        for step in range(steps):
            fastopt.step(optimizer, grads)
    fastopt.free_optimizer(optimizer)
