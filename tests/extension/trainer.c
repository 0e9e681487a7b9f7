/* An extension module that was written for version 1.0 of the functions: it stays as it is. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include HEADER

/* adam(param, m, v, grad, steps): float64 buffers, updated in a loop without the GIL. */
static PyObject *adam(PyObject *self, PyObject *args) {
    Py_buffer b[4];
    long long steps;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*w*w*y*L", &b[0], &b[1], &b[2], &b[3], &steps)) return NULL;
    const int rule = fastopt_find_rule("adam");
    double options[FASTOPT_MAX_OPTIONS];
    for (int i = 0; fastopt_option_name(rule, i); ++i) options[i] = fastopt_option_default(rule, i);
    void *state[] = {b[1].buf, b[2].buf};
    const int64_t n = b[0].len / (Py_ssize_t)sizeof(double);
    int code = fastopt_check_update(rule, FASTOPT_FLOAT64, n, b[0].buf, b[3].buf, state, NULL, 0,
                                    options);
    if (code == FASTOPT_OK) {
        Py_BEGIN_ALLOW_THREADS
        for (int64_t step = 0; step < steps; ++step)
            fastopt_update(rule, FASTOPT_FLOAT64, n, b[0].buf, b[3].buf, state, NULL, step,
                           options);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, fastopt_message());
    }
    for (int i = 0; i < 4; ++i) PyBuffer_Release(&b[i]);
    if (code != FASTOPT_OK) return NULL;
    Py_RETURN_NONE;
}

/* clipped(param, buf, grad, norm, steps): the same with Momentum, clipped, in two threads. */
static PyObject *clipped(PyObject *self, PyObject *args) {
    Py_buffer b[3];
    double norm;
    long long steps;
    fastopt_optimizer *optimizer = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*w*y*dL", &b[0], &b[1], &b[2], &norm, &steps)) return NULL;
    void *state[] = {b[1].buf};
    void *const grads[] = {b[2].buf};
    int code = fastopt_new_optimizer(fastopt_find_rule("momentum"), FASTOPT_FLOAT64, 1, &optimizer);
    if (code == FASTOPT_OK)
        code = fastopt_set_array(optimizer, 0, b[0].len / (Py_ssize_t)sizeof(double), b[0].buf,
                                 state);
    if (code == FASTOPT_OK)
        code = fastopt_set_option(optimizer, fastopt_find_option(optimizer, "clip_norm"), norm);
    if (code == FASTOPT_OK)
        code = fastopt_set_option(optimizer, fastopt_find_option(optimizer, "threads"), 2);
    if (code == FASTOPT_OK) code = fastopt_check_step(optimizer, grads);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t step = 0; code == FASTOPT_OK && step < steps; ++step)
        code = fastopt_step(optimizer, grads);
    Py_END_ALLOW_THREADS
    const double found = code == FASTOPT_OK ? fastopt_grad_norm(optimizer) : 0;
    if (code == FASTOPT_NO_MEMORY) PyErr_NoMemory();
    if (code == FASTOPT_REFUSED) PyErr_SetString(PyExc_ValueError, fastopt_message());
    if (optimizer) fastopt_free_optimizer(optimizer);
    for (int i = 0; i < 3; ++i) PyBuffer_Release(&b[i]);
    return code == FASTOPT_OK ? PyFloat_FromDouble(found) : NULL;
}

static PyMethodDef methods[] = {{"adam", adam, METH_VARARGS, NULL},
                                {"clipped", clipped, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "trainer", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_trainer(void) {
    if (fastopt_import() < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
#ifdef Py_GIL_DISABLED
    if (module) PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
