/* Fits a line by Adam, in C without Python. Compiled with the engine: see docs/c_api.md. */
#define FASTOPT_ENGINE
#include "../fastopt/include/fastopt.h"

#include <math.h>
#include <stdio.h>

enum { POINTS = 200, STEPS = 2000 };

/* The gradient of the mean of squares of y - (slope * x + intercept), halved. */
static void gradient(const double *line, double *grad) {
    grad[0] = grad[1] = 0;
    for (int i = 0; i < POINTS; ++i) {
        const double x = i / (double)POINTS, y = 3 * x - 2 + 0.1 * sin(40 * x);
        const double error = line[0] * x + line[1] - y;
        grad[0] += error * x / POINTS;
        grad[1] += error / POINTS;
    }
}

int main(void) {
    double line[2] = {0, 0}, m[2] = {0, 0}, v[2] = {0, 0}, grad[2];
    double options[FASTOPT_MAX_OPTIONS];
    void *state[] = {m, v};
    const int adam = fastopt_find_rule("adam");
    for (int i = 0; fastopt_option_name(adam, i); ++i)
        options[i] = fastopt_option_default(adam, i);
    options[0] = 0.05; /* lr */
    if (fastopt_check_update(adam, FASTOPT_FLOAT64, 2, line, grad, state, NULL, 0, options)) {
        fprintf(stderr, "%s\n", fastopt_message());
        return 1;
    }
    for (int64_t step = 0; step < STEPS; ++step) {
        gradient(line, grad);
        fastopt_update(adam, FASTOPT_FLOAT64, 2, line, grad, state, NULL, step, options);
    }
    printf("y = %.3f x %+.3f, by the %s kernels\n", line[0], line[1], fastopt_isa());
    return 0;
}
