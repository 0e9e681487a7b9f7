# What `cimport fastopt` finds: the functions of fastopt.h, which describes them, without their
# prefix. They need no GIL. The extension is compiled with fastopt.get_include() among its include
# directories, and calls fastopt_import() once, before all else.

from cython cimport floating
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "fastopt.h" nogil:
    enum:
        FASTOPT_OK
        FASTOPT_SKIPPED
        FASTOPT_REFUSED
        FASTOPT_NO_MEMORY
        FASTOPT_FLOAT32
        FASTOPT_FLOAT64
        FASTOPT_MAX_OPTIONS
        FASTOPT_MAX_ARRAYS
        FASTOPT_MAX_SCALARS
        FASTOPT_MASK
        FASTOPT_UPDATE_MASK

    ctypedef struct fastopt_optimizer:
        pass

    const char *message "fastopt_message"() noexcept
    int find_rule "fastopt_find_rule"(const char *name) noexcept
    const char *rule_name "fastopt_rule_name"(int rule) noexcept
    const char *option_name "fastopt_option_name"(int rule, int i) noexcept
    double option_default "fastopt_option_default"(int rule, int i) noexcept
    const char *array_name "fastopt_array_name"(int rule, int i) noexcept
    int array_is_optional "fastopt_array_is_optional"(int rule, int i) noexcept
    const char *scalar_name "fastopt_scalar_name"(int rule, int i) noexcept
    double scalar_start "fastopt_scalar_start"(int rule, int i) noexcept
    int update "fastopt_update"(
        int rule, int dtype, int64_t n, void *param, const void *grad, void *const *state,
        double *scalars, int64_t step, const double *options) noexcept
    int check_update "fastopt_check_update"(
        int rule, int dtype, int64_t n, void *param, const void *grad, void *const *state,
        double *scalars, int64_t step, const double *options) noexcept
    int new_optimizer "fastopt_new_optimizer"(
        int rule, int dtype, int64_t arrays, fastopt_optimizer **optimizer) noexcept
    void free_optimizer "fastopt_free_optimizer"(fastopt_optimizer *optimizer) noexcept
    int set_array "fastopt_set_array"(
        fastopt_optimizer *optimizer, int64_t i, int64_t n, void *param,
        void *const *state) noexcept
    int set_average "fastopt_set_average"(
        fastopt_optimizer *optimizer, int64_t i, void *average) noexcept
    int set_mask "fastopt_set_mask"(
        fastopt_optimizer *optimizer, int64_t i, int kind, const uint8_t *mask, int packed) noexcept
    int set_drop "fastopt_set_drop"(
        fastopt_optimizer *optimizer, double p, uint64_t seed, uint64_t offset) noexcept
    int find_option "fastopt_find_option"(
        const fastopt_optimizer *optimizer, const char *name) noexcept
    int set_option "fastopt_set_option"(
        fastopt_optimizer *optimizer, int option, double value) noexcept
    double get_option "fastopt_get_option"(const fastopt_optimizer *optimizer, int option) noexcept
    int set_penalty "fastopt_set_penalty"(
        fastopt_optimizer *optimizer, int64_t i, int option, double value) noexcept
    int set_count "fastopt_set_count"(
        fastopt_optimizer *optimizer, int64_t i, int64_t count) noexcept
    int64_t get_count "fastopt_get_count"(const fastopt_optimizer *optimizer, int64_t i) noexcept
    int set_scalar "fastopt_set_scalar"(
        fastopt_optimizer *optimizer, int scalar, double value) noexcept
    double get_scalar "fastopt_get_scalar"(const fastopt_optimizer *optimizer, int scalar) noexcept
    int step "fastopt_step"(fastopt_optimizer *optimizer, void *const *grads) noexcept
    int check_step "fastopt_check_step"(fastopt_optimizer *optimizer, void *const *grads) noexcept
    double grad_norm "fastopt_grad_norm"(const fastopt_optimizer *optimizer) noexcept
    int64_t nonfinite_array "fastopt_nonfinite_array"(const fastopt_optimizer *optimizer) noexcept
    int global_norm "fastopt_global_norm"(
        int dtype, int64_t arrays, const int64_t *sizes, const void *const *data, int threads,
        double *norm) noexcept
    int dropout "fastopt_dropout"(
        int dtype, int64_t n, const void *x, void *out, double p, uint64_t seed, uint64_t offset,
        int threads) noexcept
    int dropout_mask "fastopt_dropout_mask"(
        int64_t n, double p, uint64_t seed, uint64_t offset, int packed, uint8_t *mask,
        int threads) noexcept
    int set_num_threads "fastopt_set_num_threads"(int threads) noexcept
    int get_num_threads "fastopt_get_num_threads"() noexcept
    const char *isa "fastopt_isa"() noexcept
    int set_scalar_of "fastopt_set_scalar_of"(
        fastopt_optimizer *optimizer, int64_t i, int scalar, double value) noexcept
    double get_scalar_of "fastopt_get_scalar_of"(
        const fastopt_optimizer *optimizer, int64_t i, int scalar) noexcept

cdef extern from "fastopt.h":
    int fastopt_import() except -1


# The same as `update`, for contiguous memoryviews. The rows of `state` are its arrays in the order
# of the rule, of which the last may be missing where they are optional; a rule without a state
# takes no rows. FASTOPT_REFUSED, without a message and with nothing changed, where lengths do not
# agree, or the rule has numbers in its state: that takes `update`.
cdef inline int update_arrays(
    int rule,
    floating[::1] param,
    const floating[::1] grad,
    floating[:, ::1] state,
    int64_t step,
    const double[::1] options,
) noexcept nogil:
    cdef int64_t n = param.shape[0]
    cdef int rows = <int>min(state.shape[0], FASTOPT_MAX_ARRAYS + 1)
    cdef int count = <int>min(options.shape[0], FASTOPT_MAX_OPTIONS + 1)
    cdef void *arrays[FASTOPT_MAX_ARRAYS]
    cdef int i
    if grad.shape[0] != n or (rows > 0 and state.shape[1] != n):
        return FASTOPT_REFUSED
    if count == 0 or option_name(rule, count - 1) == NULL or option_name(rule, count) != NULL:
        return FASTOPT_REFUSED
    if rows > 0 and array_name(rule, rows - 1) == NULL:
        return FASTOPT_REFUSED
    if array_name(rule, rows) != NULL and not array_is_optional(rule, rows):
        return FASTOPT_REFUSED
    if scalar_name(rule, 0) != NULL:
        return FASTOPT_REFUSED
    if n == 0:
        return FASTOPT_OK
    for i in range(FASTOPT_MAX_ARRAYS):
        arrays[i] = &state[i, 0] if i < rows else NULL
    cdef int dtype = FASTOPT_FLOAT32 if floating is float else FASTOPT_FLOAT64
    return update(rule, dtype, n, &param[0], &grad[0], arrays, NULL, step, &options[0])
