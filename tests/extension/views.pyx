# cython: language_level=3, freethreading_compatible=True
"""What Cython reaches by `cimport fastopt`: pointers and memoryviews of both dtypes."""

cimport fastopt
from cython cimport floating
from libc.stdint cimport int64_t

fastopt.fastopt_import()

REFUSED = fastopt.FASTOPT_REFUSED


def find_rule(name):
    return fastopt.find_rule(name)


def update(
    int rule, floating[::1] param, const floating[::1] grad, floating[:, ::1] state, int64_t step,
    const double[::1] options,
):
    with nogil:
        code = fastopt.update_arrays(rule, param, grad, state, step, options)
    return code


def clipped_norm(floating[::1] param, floating[::1] grad, double clip_norm):
    """Make a step of SGD; return the norm that was found."""
    cdef fastopt.fastopt_optimizer *optimizer = NULL
    cdef int dtype = fastopt.FASTOPT_FLOAT32 if floating is float else fastopt.FASTOPT_FLOAT64
    cdef void *grads[1]
    cdef int code
    grads[0] = &grad[0]
    with nogil:
        code = fastopt.new_optimizer(fastopt.find_rule(b"sgd"), dtype, 1, &optimizer)
        if code == fastopt.FASTOPT_OK:
            fastopt.set_array(optimizer, 0, param.shape[0], &param[0], NULL)
            code = fastopt.set_option(
                optimizer, fastopt.find_option(optimizer, b"clip_norm"), clip_norm)
        if code == fastopt.FASTOPT_OK:
            code = fastopt.step(optimizer, grads)
        norm = fastopt.grad_norm(optimizer) if code == fastopt.FASTOPT_OK else -1
        fastopt.free_optimizer(optimizer)
    if code != fastopt.FASTOPT_OK:
        raise ValueError(fastopt.message().decode())
    return norm
