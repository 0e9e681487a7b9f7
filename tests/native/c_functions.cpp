// The functions for C, in a program without Python: both ways to make a step give the same bits,
// for every rule, also one with two phases and a number in its state.
#define FASTOPT_ENGINE
#include <cmath>
#include <cstring>

#include "../../fastopt/include/fastopt.h"
#include "checksums.hpp"

namespace native {
namespace {

constexpr std::int64_t n = 5000;

template <class T>
struct Model {
  std::vector<T> param, grad;
  std::vector<std::vector<T>> arrays;
  double scalars[FASTOPT_MAX_SCALARS];
  void* state[FASTOPT_MAX_ARRAYS];

  explicit Model(int rule) : param(n), grad(n) {
    for (std::int64_t i = 0; i < n; ++i) {
      param[i] = T(i % 37) / 16 - 1;
      grad[i] = T(i % 23) / 32 - T(0.25);
    }
    for (int k = 0; fastopt_array_name(rule, k); ++k) arrays.emplace_back(n);
    for (std::size_t k = 0; k < arrays.size(); ++k) state[k] = arrays[k].data();
    for (int k = 0; fastopt_scalar_name(rule, k); ++k) scalars[k] = fastopt_scalar_start(rule, k);
  }

  bool operator==(const Model& other) const {
    return std::memcmp(param.data(), other.param.data(), n * sizeof(T)) == 0 &&
           arrays == other.arrays;
  }
};

void require_ok(int code) { require(code == FASTOPT_OK, fastopt_message()); }

template <class T>
void check_rule(int rule, int dtype, int threads) {
  Model<T> alone(rule), together(rule);
  double options[FASTOPT_MAX_OPTIONS];
  for (int i = 0; fastopt_option_name(rule, i); ++i) options[i] = fastopt_option_default(rule, i);
  fastopt_optimizer* optimizer;
  require_ok(fastopt_new_optimizer(rule, dtype, 1, &optimizer));
  require_ok(fastopt_set_array(optimizer, 0, n, together.param.data(), together.state));
  require_ok(fastopt_set_option(optimizer, fastopt_find_option(optimizer, "threads"), threads));
  for (int step = 0; step < 3; ++step) {
    require_ok(fastopt_check_update(rule, dtype, n, alone.param.data(), alone.grad.data(),
                                    alone.state, alone.scalars, step, options));
    fastopt_update(rule, dtype, n, alone.param.data(), alone.grad.data(), alone.state,
                   alone.scalars, step, options);
    void* const grads[] = {together.grad.data()};
    require_ok(fastopt_check_step(optimizer, grads));
    require_ok(fastopt_step(optimizer, grads));
    require(alone == together, std::string("C: the two ways differ: ") + fastopt_rule_name(rule));
  }
  for (int k = 0; fastopt_scalar_name(rule, k); ++k)
    require(fastopt_get_scalar(optimizer, k) == alone.scalars[k], "C: a number of the state");
  require(alone.param != Model<T>(rule).param, "C: nothing was updated");
  require(fastopt_get_count(optimizer, 0) == 3, "C: the count");
  require(fastopt_set_option(optimizer, 0, -1) == FASTOPT_REFUSED, "C: a wrong lr is taken");
  const std::string why =
      std::string(fastopt_rule_name(rule)) + "_step: lr must be finite and >= 0, it is -1.0";
  require(fastopt_message() == why, fastopt_message());
  fastopt_free_optimizer(optimizer);
}

// An array without a gradient is left out, with its count and its numbers, which are its own.
void check_left_out(int rule) {
  Model<double> models[2] = {Model<double>(rule), Model<double>(rule)};
  Model<double> alone(rule);
  double options[FASTOPT_MAX_OPTIONS];
  for (int i = 0; fastopt_option_name(rule, i); ++i) options[i] = fastopt_option_default(rule, i);
  fastopt_optimizer* optimizer;
  require_ok(fastopt_new_optimizer(rule, FASTOPT_FLOAT64, 2, &optimizer));
  for (int i = 0; i < 2; ++i)
    require_ok(fastopt_set_array(optimizer, i, n, models[i].param.data(), models[i].state));
  const int per_array = fastopt_find_option(optimizer, "per_array");
  if (per_array >= 0) require_ok(fastopt_set_option(optimizer, per_array, options[per_array] = 1));
  void* const some[] = {models[0].grad.data(), nullptr};
  void* const all[] = {models[0].grad.data(), models[1].grad.data()};
  require_ok(fastopt_step(optimizer, some));
  require(models[1] == alone, "C: an array without a gradient was changed");
  const double start = fastopt_scalar_start(rule, 0);
  if (fastopt_scalar_name(rule, 0)) {
    require(fastopt_get_scalar_of(optimizer, 1, 0) == start, "C: a number without a gradient");
    require(std::isnan(fastopt_get_scalar(optimizer, 0)), "C: a number that differs");
    require(fastopt_set_scalar_of(optimizer, 2, 0, 1) == FASTOPT_REFUSED, "C: an array too many");
  }
  require(fastopt_set_scalar_of(optimizer, 0, 3, 1) == FASTOPT_REFUSED, "C: a number too many");
  require_ok(fastopt_step(optimizer, all));
  fastopt_update(rule, FASTOPT_FLOAT64, n, alone.param.data(), alone.grad.data(), alone.state,
                 alone.scalars, 0, options);
  require(models[1] == alone, "C: an array that was left out before");
  fastopt_free_optimizer(optimizer);
}

}  // namespace

void check_c_functions(int threads) {
  require(fastopt_find_rule("trust") >= 0, "C: the rule of these tests is not there");
  for (int rule = 0; fastopt_rule_name(rule); ++rule) {
    check_rule<float>(rule, FASTOPT_FLOAT32, threads);
    check_rule<double>(rule, FASTOPT_FLOAT64, threads);
    check_left_out(rule);
  }
}

}  // namespace native
