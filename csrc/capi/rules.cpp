// What rules declare.
#include "../engine/rules.hpp"

#include "functions.hpp"

namespace fastopt::c {
namespace {

// An item of a list of the rule, or null where there is none.
template <class Item>
const Item* item(View<Item> Rule::* list, int rule, int i) {
  const View<Rule> rules = all_rules();
  if (rule < 0 || rule >= rules.count || i < 0 || i >= (rules[rule].*list).count) return nullptr;
  return &(rules[rule].*list)[i];
}

// The same of the arrays of a state.
StateArray array(int rule, int i) {
  const View<Rule> rules = all_rules();
  const bool is_there = rule >= 0 && rule < rules.count && i >= 0 && i < rules[rule].flat_arrays();
  return is_there ? rules[rule].flat_array(i) : StateArray{nullptr};
}

}  // namespace

int find_rule(const char* name) noexcept {
  const Rule* rule = name ? fastopt::find_rule(name) : nullptr;
  return rule ? static_cast<int>(rule - all_rules().begin()) : -1;
}

const char* rule_name(int rule) noexcept {
  return rule >= 0 && rule < all_rules().count ? all_rules()[rule].name : nullptr;
}

const char* option_name(int rule, int i) noexcept {
  const Option* option = item(&Rule::options, rule, i);
  return option ? option->name : nullptr;
}

double option_default(int rule, int i) noexcept {
  const Option* option = item(&Rule::options, rule, i);
  return option ? option->otherwise : 0;
}

const char* array_name(int rule, int i) noexcept { return array(rule, i).name; }

int array_is_optional(int rule, int i) noexcept { return array(rule, i).optional; }

const char* scalar_name(int rule, int i) noexcept {
  const StateScalar* scalar = item(&Rule::scalars, rule, i);
  return scalar ? scalar->name : nullptr;
}

double scalar_start(int rule, int i) noexcept {
  const StateScalar* scalar = item(&Rule::scalars, rule, i);
  return scalar ? scalar->start : 0;
}

}  // namespace fastopt::c
