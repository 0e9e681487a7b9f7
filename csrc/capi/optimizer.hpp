// What stands behind a fastopt_optimizer.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "../engine/launch.hpp"
#include "../engine/steps/gradients.hpp"
#include "../engine/steps/options.hpp"
#include "refusal.hpp"

// Arrays of one dtype, with a rule, its options and what it counts.
struct fastopt_optimizer {
  struct Array {
    std::int64_t size = 0, count = 0;
    void* param = nullptr;
    void* state[fastopt::Streams::max_states] = {};  // as the rule lists them
    double numbers[fastopt::Rule::max_scalars] = {};
    void* average = nullptr;
    const void* masks[2] = {};  // FASTOPT_MASK, FASTOPT_UPDATE_MASK
    bool packed[2] = {};
    bool has_own_penalties = false;
    fastopt::Penalties own;  // NaN where those of the optimizer hold
  };

  // Arrays that the rule is folded for together.
  struct Part {
    std::int64_t count;
    const fastopt::RuleVariant* variant;
  };

  const fastopt::Rule& rule;
  const fastopt::Dtype dtype;
  const std::string function;  // what messages call its step
  std::vector<Array> arrays;
  double options[fastopt::Rule::max_options];
  fastopt::Terms terms;
  fastopt::Shared shared;
  std::optional<fastopt::DropoutStream> drop;
  double grad_norm = 0;  // of the latest step that measured it

  // Room for a step.
  std::vector<Part> parts;
  std::vector<fastopt::Update> updates;
  std::vector<fastopt::Penalties> penalties;
  fastopt::Tensors tensors;
  fastopt::Gradients gradients;
  fastopt::Room room;

  fastopt_optimizer(const fastopt::Rule& rule, fastopt::Dtype dtype, std::int64_t arrays);

  std::string name(const char* tree, std::int64_t i) const {
    return std::string(tree) + "[" + std::to_string(i) + "]";
  }
  Array& at(std::int64_t i);
  double* number(int option);  // null where there is none
  const fastopt::Option& declared(int option) const;
};
