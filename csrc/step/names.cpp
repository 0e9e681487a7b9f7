#include "names.hpp"

#include <string>
#include <vector>

#include "../python/errors.hpp"
#include "../python/object.hpp"
#include "options/declared.hpp"

namespace fastopt {
namespace {

struct RuleNames {
  std::string function;
  PyObject* parts[Rule::max_parts];
};

PyObject* teller = nullptr;
PyObject* option_names[step_option_count];
std::vector<RuleNames> rule_names;  // in the order of all_rules()

const RuleNames& names_of(const Rule& rule) { return rule_names[&rule - all_rules().begin()]; }

PyObject* interned(const char* text) {
  return Object::made(PyUnicode_InternFromString(text)).release();
}

}  // namespace

void intern_names() {
  for (int i = 0; i < step_option_count; ++i)
    option_names[i] = interned(step_options[i].option.name);
  for (const Rule& rule : all_rules()) {
    RuleNames& names = rule_names.emplace_back();
    names.function = std::string(rule.name) + "_step";
    for (int i = 0; i < rule.parts(); ++i) names.parts[i] = interned(rule.part(i).name);
  }
}

void use_other_names(PyObject* instead_of) { teller = Py_NewRef(instead_of); }

std::string instead_of(const Rule* rule, PyObject* name) {
  if (!teller || !PyUnicode_Check(name)) return "";
  const Object told =
      Object::made(PyObject_CallFunction(teller, "zO", rule ? rule->name : nullptr, name));
  return text_of(told.ptr());
}

const char* function_of(const Rule& rule) { return names_of(rule).function.c_str(); }
PyObject* const* part_names(const Rule& rule) { return names_of(rule).parts; }
PyObject* option_name(int option) { return option_names[option]; }

}  // namespace fastopt
