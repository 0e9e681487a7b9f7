#include "optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "checks.hpp"
#include "functions.hpp"

using fastopt::c::Refusal;

fastopt_optimizer::fastopt_optimizer(const fastopt::Rule& rule, fastopt::Dtype dtype,
                                     std::int64_t count)
    : rule(rule), dtype(dtype), function(std::string(rule.name) + "_step"), arrays(count) {
  using namespace fastopt;
  for (int i = 0; i < rule.options.count; ++i) options[i] = rule.options[i].otherwise;
  for (Array& array : arrays)
    for (int i = 0; i < rule.scalars.count; ++i) array.numbers[i] = rule.scalars[i].start;
  for (int i = 0; i < number_count; ++i)
    *number(rule.options.count + i) = step_numbers[i].otherwise;
  tensors.all.reserve(count);
  gradients.list.all.reserve(count);
  penalties.resize(count);
}

fastopt_optimizer::Array& fastopt_optimizer::at(std::int64_t i) {
  if (i < 0 || i >= static_cast<std::int64_t>(arrays.size()))
    throw Refusal{function + ": there is no array " + std::to_string(i) + " among " +
                  std::to_string(arrays.size())};
  return arrays[i];
}

double* fastopt_optimizer::number(int option) {
  const int own = rule.options.count;
  if (option < 0 || option >= own + fastopt::number_count) return nullptr;
  if (option < own) return options + option;
  const int place = option - own;
  return place < fastopt::term_count
             ? reinterpret_cast<double*>(&terms) + place
             : reinterpret_cast<double*>(&shared) + (place - fastopt::first_shared);
}

const fastopt::Option& fastopt_optimizer::declared(int option) const {
  const int own = rule.options.count;
  return option < own ? rule.options[option] : fastopt::step_numbers[option - own];
}

namespace fastopt::c {
namespace {

// The number of the option that has this name among those of every step.
constexpr int place_of(std::string_view name) {
  return static_cast<int>(&step_number(name) - step_numbers);
}

constexpr int l1 = place_of("l1"), l2 = place_of("l2"), weight_decay = place_of("weight_decay"),
              l1_prox = place_of("l1_prox"), threads = place_of("threads");

double* penalty_of(Penalties& of, int place) {
  return place == l1             ? &of.l1
         : place == l2           ? &of.l2
         : place == weight_decay ? &of.weight_decay
         : place == l1_prox      ? &of.l1_prox
                                 : nullptr;
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool has_scalar(const fastopt_optimizer& of, int scalar) {
  return scalar >= 0 && scalar < of.rule.scalars.count;
}

void check_scalar(const fastopt_optimizer& of, int scalar) {
  if (!has_scalar(of, scalar))
    throw Refusal{of.function + ": there is no number " + std::to_string(scalar) + " of the state"};
}

[[noreturn]] void raise_no_option(const fastopt_optimizer& of, int option) {
  throw Refusal{of.function + ": there is no option " + std::to_string(option)};
}

}  // namespace

int new_optimizer(int number, int dtype, int64_t arrays, fastopt_optimizer** optimizer) noexcept {
  return guarded([&] {
    static constexpr const char* function = "fastopt_new_optimizer";
    const Rule& rule = checked_rule(function, number);
    const Dtype checked = checked_dtype(function, dtype);
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    if (arrays < 0 || arrays > most)
      throw Refusal{std::string(function) + ": 0 <= arrays < 2**31 must hold, it is " +
                    std::to_string(arrays)};
    *optimizer = new fastopt_optimizer(rule, checked, arrays);
    return FASTOPT_OK;
  });
}

void free_optimizer(fastopt_optimizer* optimizer) noexcept { delete optimizer; }

int set_array(fastopt_optimizer* optimizer, int64_t i, int64_t n, void* param,
              void* const* state) noexcept {
  return guarded([&] {
    fastopt_optimizer::Array& array = optimizer->at(i);
    check_size(optimizer->function, n);
    array.size = n;
    array.param = param;
    std::fill(std::begin(array.state), std::end(array.state), nullptr);
    if (state) std::copy_n(state, optimizer->rule.flat_arrays(), array.state);
    return FASTOPT_OK;
  });
}

int set_average(fastopt_optimizer* optimizer, int64_t i, void* average) noexcept {
  return guarded([&] {
    optimizer->at(i).average = average;
    return FASTOPT_OK;
  });
}

int set_mask(fastopt_optimizer* optimizer, int64_t i, int kind, const uint8_t* mask,
             int packed) noexcept {
  return guarded([&] {
    fastopt_optimizer::Array& array = optimizer->at(i);
    if (kind != FASTOPT_MASK && kind != FASTOPT_UPDATE_MASK)
      throw Refusal{optimizer->function + ": there is no kind " + std::to_string(kind) +
                    " of masks"};
    array.masks[kind] = mask;
    array.packed[kind] = packed != 0;
    return FASTOPT_OK;
  });
}

int set_drop(fastopt_optimizer* optimizer, double p, uint64_t seed, uint64_t offset) noexcept {
  return guarded([&] {
    if (p < 0) {
      optimizer->drop.reset();
      return FASTOPT_OK;
    }
    check_drop(optimizer->function, p);
    optimizer->drop.emplace(p, seed, offset);
    return FASTOPT_OK;
  });
}

int find_option(const fastopt_optimizer* optimizer, const char* name) noexcept {
  const int own = optimizer->rule.options.count;
  for (int i = 0; name && i < own + number_count; ++i)
    if (std::string_view(optimizer->declared(i).name) == name) return i;
  return -1;
}

int set_option(fastopt_optimizer* optimizer, int number, double value) noexcept {
  return guarded([&] {
    double* option = optimizer->number(number);
    if (!option) raise_no_option(*optimizer, number);
    const Option& declared = optimizer->declared(number);
    if (value != declared.otherwise) {
      if (number - optimizer->rule.options.count == threads)
        check_threads(optimizer->function, value);
      else
        check_range(optimizer->function, declared, value);
    }
    *option = value;
    return FASTOPT_OK;
  });
}

double get_option(const fastopt_optimizer* optimizer, int number) noexcept {
  const double* option = const_cast<fastopt_optimizer*>(optimizer)->number(number);
  return option ? *option : std::numeric_limits<double>::quiet_NaN();
}

int set_penalty(fastopt_optimizer* optimizer, int64_t i, int number, double value) noexcept {
  return guarded([&] {
    fastopt_optimizer::Array& array = optimizer->at(i);
    double* penalty = penalty_of(array.own, number - optimizer->rule.options.count);
    if (!penalty)
      throw Refusal{optimizer->function + ": option " + std::to_string(number) +
                    " is no penalty: l1, l2, weight_decay and l1_prox are"};
    check_range(optimizer->function, optimizer->declared(number), value);
    if (!array.has_own_penalties) {
      constexpr double none = std::numeric_limits<double>::quiet_NaN();
      array.own = {none, none, none, none};
      array.has_own_penalties = true;
    }
    *penalty = value;
    return FASTOPT_OK;
  });
}

int set_count(fastopt_optimizer* optimizer, int64_t i, int64_t count) noexcept {
  return guarded([&] {
    check_count(optimizer->function, optimizer->name("state.step", i), count);
    optimizer->at(i).count = count;
    return FASTOPT_OK;
  });
}

int64_t get_count(const fastopt_optimizer* optimizer, int64_t i) noexcept {
  const bool is_there = i >= 0 && i < static_cast<int64_t>(optimizer->arrays.size());
  return is_there ? optimizer->arrays[i].count : -1;
}

int set_scalar(fastopt_optimizer* optimizer, int scalar, double value) noexcept {
  return guarded([&] {
    check_scalar(*optimizer, scalar);
    for (fastopt_optimizer::Array& array : optimizer->arrays) array.numbers[scalar] = value;
    return FASTOPT_OK;
  });
}

double get_scalar(const fastopt_optimizer* optimizer, int scalar) noexcept {
  const auto& arrays = optimizer->arrays;
  if (arrays.empty() || !has_scalar(*optimizer, scalar)) return nan;
  const auto is_there = [](const auto& array) { return array.size > 0; };
  const auto found = std::find_if(arrays.begin(), arrays.end(), is_there);
  const double first = (found == arrays.end() ? arrays[0] : *found).numbers[scalar];
  const bool agree = std::all_of(arrays.begin(), arrays.end(), [&](const auto& array) {
    return !is_there(array) || array.numbers[scalar] == first;
  });
  return agree ? first : nan;
}

int set_scalar_of(fastopt_optimizer* optimizer, int64_t i, int scalar, double value) noexcept {
  return guarded([&] {
    check_scalar(*optimizer, scalar);
    optimizer->at(i).numbers[scalar] = value;
    return FASTOPT_OK;
  });
}

double get_scalar_of(const fastopt_optimizer* optimizer, int64_t i, int scalar) noexcept {
  const bool is_there = i >= 0 && i < static_cast<int64_t>(optimizer->arrays.size());
  return is_there && has_scalar(*optimizer, scalar) ? optimizer->arrays[i].numbers[scalar] : nan;
}

}  // namespace fastopt::c
