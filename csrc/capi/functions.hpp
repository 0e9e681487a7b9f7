// The functions for C. fastopt/include/fastopt.h describes them, and lists them in this order.
#pragma once
#ifndef FASTOPT_ENGINE
#define FASTOPT_ENGINE  // the engine itself: nothing is imported
#endif
#include "../../fastopt/include/fastopt.h"

namespace fastopt::c {

// refusal.cpp
const char* message() noexcept;

// rules.cpp
int find_rule(const char* name) noexcept;
const char* rule_name(int rule) noexcept;
const char* option_name(int rule, int i) noexcept;
double option_default(int rule, int i) noexcept;
const char* array_name(int rule, int i) noexcept;
int array_is_optional(int rule, int i) noexcept;
const char* scalar_name(int rule, int i) noexcept;
double scalar_start(int rule, int i) noexcept;

// update.cpp
int update(int rule, int dtype, int64_t n, void* param, const void* grad, void* const* state,
           double* scalars, int64_t step, const double* options) noexcept;
int check_update(int rule, int dtype, int64_t n, void* param, const void* grad, void* const* state,
                 double* scalars, int64_t step, const double* options) noexcept;

// optimizer.cpp
int new_optimizer(int rule, int dtype, int64_t arrays, fastopt_optimizer** optimizer) noexcept;
void free_optimizer(fastopt_optimizer* optimizer) noexcept;
int set_array(fastopt_optimizer* optimizer, int64_t i, int64_t n, void* param,
              void* const* state) noexcept;
int set_average(fastopt_optimizer* optimizer, int64_t i, void* average) noexcept;
int set_mask(fastopt_optimizer* optimizer, int64_t i, int kind, const uint8_t* mask,
             int packed) noexcept;
int set_drop(fastopt_optimizer* optimizer, double p, uint64_t seed, uint64_t offset) noexcept;
int find_option(const fastopt_optimizer* optimizer, const char* name) noexcept;
int set_option(fastopt_optimizer* optimizer, int option, double value) noexcept;
double get_option(const fastopt_optimizer* optimizer, int option) noexcept;
int set_penalty(fastopt_optimizer* optimizer, int64_t i, int option, double value) noexcept;
int set_count(fastopt_optimizer* optimizer, int64_t i, int64_t count) noexcept;
int64_t get_count(const fastopt_optimizer* optimizer, int64_t i) noexcept;
int set_scalar(fastopt_optimizer* optimizer, int scalar, double value) noexcept;
double get_scalar(const fastopt_optimizer* optimizer, int scalar) noexcept;
int set_scalar_of(fastopt_optimizer* optimizer, int64_t i, int scalar, double value) noexcept;
double get_scalar_of(const fastopt_optimizer* optimizer, int64_t i, int scalar) noexcept;

// step.cpp
int step(fastopt_optimizer* optimizer, void* const* grads) noexcept;
int check_step(fastopt_optimizer* optimizer, void* const* grads) noexcept;
double grad_norm(const fastopt_optimizer* optimizer) noexcept;
int64_t nonfinite_array(const fastopt_optimizer* optimizer) noexcept;

// passes.cpp
int global_norm(int dtype, int64_t arrays, const int64_t* sizes, const void* const* data,
                int threads, double* norm) noexcept;
int dropout(int dtype, int64_t n, const void* x, void* out, double p, uint64_t seed,
            uint64_t offset, int threads) noexcept;
int dropout_mask(int64_t n, double p, uint64_t seed, uint64_t offset, int packed, uint8_t* mask,
                 int threads) noexcept;
int set_num_threads(int threads) noexcept;
int get_num_threads() noexcept;
const char* isa() noexcept;

}  // namespace fastopt::c

// Calls a macro with the name of each: what the tables of them are made from.
// clang-format off
#define FASTOPT_EACH_FUNCTION(DO) \
  DO(message) DO(find_rule) DO(rule_name) DO(option_name) DO(option_default) DO(array_name) \
  DO(array_is_optional) DO(scalar_name) DO(scalar_start) DO(update) DO(check_update) \
  DO(new_optimizer) DO(free_optimizer) DO(set_array) DO(set_average) DO(set_mask) \
  DO(set_drop) DO(find_option) DO(set_option) DO(get_option) DO(set_penalty) DO(set_count) \
  DO(get_count) DO(set_scalar) DO(get_scalar) DO(step) DO(check_step) DO(grad_norm) \
  DO(nonfinite_array) DO(global_norm) DO(dropout) DO(dropout_mask) DO(set_num_threads) \
  DO(get_num_threads) DO(isa) DO(set_scalar_of) DO(get_scalar_of)
// clang-format on

namespace fastopt {

// All of them, for the capsule of Python's module.
const fastopt_functions& c_functions();

}  // namespace fastopt
