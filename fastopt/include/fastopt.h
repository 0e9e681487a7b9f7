/* The steps of fastopt for C, C++, Cython and whatever calls C.
 *
 * From a Python extension, with Python.h included before:
 *
 *     #include <fastopt.h>                  // its folder: fastopt.get_include()
 *     if (fastopt_import() < 0) return NULL;   // once, in each file
 *
 * No other function needs the GIL.
 *
 * Without Python, in a program that compiles csrc/rules, kernels, engine and capi along:
 *
 *     #define FASTOPT_ENGINE
 *     #include "fastopt/include/fastopt.h"     // and nothing to import
 *
 * A function that can fail returns FASTOPT_OK or another code; fastopt_message() tells what was
 * wrong. All may be called from several threads at once, but one fastopt_optimizer only from one.
 * They give the bits that the same step of Python gives arrays of one axis. A step allocates
 * nothing, once one like it was made: with the same options, and arrays that have seen the same
 * updates.
 *
 * Functions are added to this table, and none is changed: what was built with one version of this
 * header works with all later ones of the same FASTOPT_ABI.
 */
#ifndef FASTOPT_H
#define FASTOPT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTOPT_ABI 1         /* another number: all is different */
#define FASTOPT_ABI_MINOR 1   /* a larger one: there are more functions */

enum { /* what functions return */
    FASTOPT_OK = 0,
    FASTOPT_SKIPPED = 1,    /* with skip_nonfinite, nothing has changed but what zero_grads clears:
                               a gradient is not finite, or too large to be squared in its dtype */
    FASTOPT_REFUSED = -1,   /* an argument is wrong, nothing has changed */
    FASTOPT_NO_MEMORY = -2  /* nothing has changed */
};

enum { FASTOPT_FLOAT32 = 0, FASTOPT_FLOAT64 = 1 }; /* dtypes of elements */

enum { /* limits of all rules */
    FASTOPT_MAX_OPTIONS = 16,
    FASTOPT_MAX_ARRAYS = 6,
    FASTOPT_MAX_SCALARS = 4
};

enum { FASTOPT_MASK = 0, FASTOPT_UPDATE_MASK = 1 }; /* kinds of masks */

/* The arrays of one model with a rule, its options and what it counts. */
typedef struct fastopt_optimizer fastopt_optimizer;

typedef struct fastopt_functions {
    int abi, abi_minor;

    /* What refused the latest call of this thread that was refused: "adam_step: lr must be finite
     * and >= 0, it is -1.0", as Python says it. It stays until the next. */
    const char *(*message)(void);

    /* ---- Rules are numbers from 0 on, which may differ between versions: ask for them by name. */

    /* The number of "sgd", "momentum", "adam", "rmsprop", ...; -1 where there is no such rule. */
    int (*find_rule)(const char *name);
    /* Its name; NULL where the number is too large. */
    const char *(*rule_name)(int rule);
    /* The name of option i; NULL behind the last. The learning rate "lr" is the first. Flags are
     * 1 or 0. */
    const char *(*option_name)(int rule, int i);
    /* The default of option i; 0 where there is none. */
    double (*option_default)(int rule, int i);
    /* The name of array i of its state; NULL behind the last. */
    const char *(*array_name)(int rule, int i);
    /* Whether a state may leave out array i: then NULL stands in its place. */
    int (*array_is_optional)(int rule, int i);
    /* The name of number i that a state has besides its count and arrays; NULL behind the last. */
    const char *(*scalar_name)(int rule, int i);
    /* Where that number begins. */
    double (*scalar_start)(int rule, int i);

    /* ---- The shortest way: the rule alone, on one array, in the calling thread. */

    /* Updates `param` and the state in place. Nothing is checked; FASTOPT_NO_MEMORY is possible for
     * rules that go over an array twice. The caller guarantees:
     * a rule and a dtype that exist; n >= 0; n elements of the dtype in `param`, in `grad` and in
     * each array of `state`, aligned for the dtype, none of them overlapping another;
     * in `state` a pointer for each array that the rule has, in its order, all zeros before the
     * first step, or what its initial_accumulator_value is in Python (NULL where a state leaves one
     * out; `state` itself may be NULL for a rule without any);
     * in `scalars` the numbers of the state (NULL where there are none), which change;
     * in `options` as many doubles as the rule has options, in its order, within their ranges, and
     * so that they fit the dtype (an eps of 1e-60 is zero in float32); an option that needs an
     * array, as the momentum of RMSprop its buf, is 0 where that is left out;
     * and in `step` the updates that were made before this one, 0 <= step < 2^53. */
    int (*update)(int rule, int dtype, int64_t n, void *param, const void *grad,
                   void *const *state, double *scalars, int64_t step, const double *options);
    /* Checks all of that but for how long arrays really are, and changes nothing. It takes several
     * times as long as a small update: call it once. */
    int (*check_update)(int rule, int dtype, int64_t n, void *param, const void *grad,
                        void *const *state, double *scalars, int64_t step, const double *options);

    /* ---- All arrays of a model in one step, with all terms, in all threads. */

    /* Makes room for so many arrays of one dtype, with the defaults of the rule. */
    int (*new_optimizer)(int rule, int dtype, int64_t arrays, fastopt_optimizer **optimizer);
    /* Frees it, but not the arrays; NULL is fine. */
    void (*free_optimizer)(fastopt_optimizer *optimizer);
    /* Array i of the parameters, and of its state as for `update`. They must outlive the optimizer,
     * or be set anew. n = 0: there is no array i. */
    int (*set_array)(fastopt_optimizer *optimizer, int64_t i, int64_t n, void *param,
                     void *const *state);
    /* Its average, which `ema_decay` moves; NULL: it has none. */
    int (*set_average)(fastopt_optimizer *optimizer, int64_t i, void *average);
    /* Its mask: a byte for each element, 0 or not, or in packed bits one for each eight, element i
     * in bit i % 8 of byte i / 8. FASTOPT_MASK sets left out elements of the gradient to zero, and
     * divides the others by keep_prob; FASTOPT_UPDATE_MASK leaves elements as they are, with their
     * state. NULL: it has none. */
    int (*set_mask)(fastopt_optimizer *optimizer, int64_t i, int kind, const uint8_t *mask,
                    int packed);
    /* Draws masks anew in each step: dropout of gradients with probability p, the array i from the
     * stream `offset` + i of `seed`. `offset` then advances by the number of arrays. A p below 0
     * ends it. */
    int (*set_drop)(fastopt_optimizer *optimizer, double p, uint64_t seed, uint64_t offset);
    /* The number of an option of its rule, or of the options of every step: l1 l2 weight_decay
     * decay_after l1_prox nonneg maximize clip_value grad_scale keep_prob clip_norm
     * clip_tensor_norm clip_eps skip_nonfinite ema_decay zero_grads flush_denormals threads.
     * -1 where there is none of this name. */
    int (*find_option)(const fastopt_optimizer *optimizer, const char *name);
    /* Sets an option. Its default switches it off: infinity a clip, -1 ema_decay; 0 threads are as
     * many as the library uses. */
    int (*set_option)(fastopt_optimizer *optimizer, int option, double value);
    /* NaN where there is no such option; so get_scalar below, and get_count -1. */
    double (*get_option)(const fastopt_optimizer *optimizer, int option);
    /* l1, l2, weight_decay or l1_prox of array i alone, from now on. */
    int (*set_penalty)(fastopt_optimizer *optimizer, int64_t i, int option, double value);
    /* The updates that array i has seen. */
    int (*set_count)(fastopt_optimizer *optimizer, int64_t i, int64_t count);
    int64_t (*get_count)(const fastopt_optimizer *optimizer, int64_t i);
    /* A number of the state: of all arrays; NaN where they differ. */
    int (*set_scalar)(fastopt_optimizer *optimizer, int scalar, double value);
    double (*get_scalar)(const fastopt_optimizer *optimizer, int scalar);
    /* One step. `grads` has a pointer for each array; an array whose gradient is NULL is left out,
     * and its count stays. With `zero_grads`, gradients are zero afterwards.
     * FASTOPT_REFUSED where options do not go together, a number does not fit the dtype, an array
     * or a mask that an option needs is not there, or a count is at its end. The caller guarantees
     * what `update` wants of arrays. */
    int (*step)(fastopt_optimizer *optimizer, void *const *grads);
    /* Checks what the caller of `step` guarantees, and changes nothing. */
    int (*check_step)(fastopt_optimizer *optimizer, void *const *grads);
    /* Of the latest step with clip_norm, clip_tensor_norm or skip_nonfinite: the norm of all
     * gradients after masks and grad_scale, before they were clipped; and the first array whose
     * gradient is not finite, or made the step be skipped, or -1. */
    double (*grad_norm)(const fastopt_optimizer *optimizer);
    int64_t (*nonfinite_array)(const fastopt_optimizer *optimizer);

    /* ---- Besides */

    /* The square root of the sum of all squares, of arrays of one dtype, aligned for it. */
    int (*global_norm)(int dtype, int64_t arrays, const int64_t *sizes, const void *const *data,
                       int threads, double *norm);
    /* Dropout of activations: `out`, which may be `x`, is x / (1 - p) where an element is kept,
     * else 0. */
    int (*dropout)(int dtype, int64_t n, const void *x, void *out, double p, uint64_t seed,
                   uint64_t offset, int threads);
    /* The same decisions as a mask: n bytes, or (n + 7) / 8 in packed bits. */
    int (*dropout_mask)(int64_t n, double p, uint64_t seed, uint64_t offset, int packed,
                        uint8_t *mask, int threads);
    /* The threads of all steps that do not say otherwise. */
    int (*set_num_threads)(int threads);
    int (*get_num_threads)(void);
    /* "baseline", "avx2", "avx512": the instruction set of all kernels. */
    const char *(*isa)(void);

    /* ---- Since minor version 1 */

    /* A number of the state of array i alone. Steps leave it, as its count, where n is 0. */
    int (*set_scalar_of)(fastopt_optimizer *optimizer, int64_t i, int scalar, double value);
    double (*get_scalar_of)(const fastopt_optimizer *optimizer, int64_t i, int scalar);
} fastopt_functions;

#ifdef FASTOPT_ENGINE
/* Chooses the instruction set at its first call. */
const fastopt_functions *fastopt_engine(void);
#define FASTOPT_CALL (*fastopt_engine())
#else
static const fastopt_functions *fastopt_table = NULL;
#define FASTOPT_CALL (*fastopt_table)
#endif

#define fastopt_message FASTOPT_CALL.message
#define fastopt_find_rule FASTOPT_CALL.find_rule
#define fastopt_rule_name FASTOPT_CALL.rule_name
#define fastopt_option_name FASTOPT_CALL.option_name
#define fastopt_option_default FASTOPT_CALL.option_default
#define fastopt_array_name FASTOPT_CALL.array_name
#define fastopt_array_is_optional FASTOPT_CALL.array_is_optional
#define fastopt_scalar_name FASTOPT_CALL.scalar_name
#define fastopt_scalar_start FASTOPT_CALL.scalar_start
#define fastopt_update FASTOPT_CALL.update
#define fastopt_check_update FASTOPT_CALL.check_update
#define fastopt_new_optimizer FASTOPT_CALL.new_optimizer
#define fastopt_free_optimizer FASTOPT_CALL.free_optimizer
#define fastopt_set_array FASTOPT_CALL.set_array
#define fastopt_set_average FASTOPT_CALL.set_average
#define fastopt_set_mask FASTOPT_CALL.set_mask
#define fastopt_set_drop FASTOPT_CALL.set_drop
#define fastopt_find_option FASTOPT_CALL.find_option
#define fastopt_set_option FASTOPT_CALL.set_option
#define fastopt_get_option FASTOPT_CALL.get_option
#define fastopt_set_penalty FASTOPT_CALL.set_penalty
#define fastopt_set_count FASTOPT_CALL.set_count
#define fastopt_get_count FASTOPT_CALL.get_count
#define fastopt_set_scalar FASTOPT_CALL.set_scalar
#define fastopt_get_scalar FASTOPT_CALL.get_scalar
#define fastopt_step FASTOPT_CALL.step
#define fastopt_check_step FASTOPT_CALL.check_step
#define fastopt_grad_norm FASTOPT_CALL.grad_norm
#define fastopt_nonfinite_array FASTOPT_CALL.nonfinite_array
#define fastopt_global_norm FASTOPT_CALL.global_norm
#define fastopt_dropout FASTOPT_CALL.dropout
#define fastopt_dropout_mask FASTOPT_CALL.dropout_mask
#define fastopt_set_num_threads FASTOPT_CALL.set_num_threads
#define fastopt_get_num_threads FASTOPT_CALL.get_num_threads
#define fastopt_isa FASTOPT_CALL.isa
#define fastopt_set_scalar_of FASTOPT_CALL.set_scalar_of
#define fastopt_get_scalar_of FASTOPT_CALL.get_scalar_of

#if defined(PY_VERSION_HEX) && !defined(FASTOPT_ENGINE)
/* Imports fastopt and finds its functions. Returns -1 with Python's error set where it is not
 * there, older than this header, or of another FASTOPT_ABI. Needs the GIL. */
static inline int fastopt_import(void) {
    const fastopt_functions *found =
        (const fastopt_functions *)PyCapsule_Import("fastopt._core.c_functions", 0);
    if (!found) return -1;
    if (found->abi != FASTOPT_ABI || found->abi_minor < FASTOPT_ABI_MINOR) {
        PyErr_Format(PyExc_ImportError,
                     "fastopt has version %d.%d of its C functions, and this module was built with "
                     "%d.%d",
                     found->abi, found->abi_minor, FASTOPT_ABI, FASTOPT_ABI_MINOR);
        return -1;
    }
    fastopt_table = found;
    return 0;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
