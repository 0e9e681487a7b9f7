// The rules as Python sees them: what they declare, and their functional steps.
#include "../engine/rules.hpp"

#include <vector>

#include "../step/functional.hpp"
#include "../step/names.hpp"
#include "../step/options/declared.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

const char* text_of(Range range) {
  switch (range) {
    case Range::finite:
      return "finite";
    case Range::non_negative:
    case Range::denominator:
      return ">= 0";
    case Range::positive:
      return "> 0";
    case Range::non_positive:
      return "<= 0";
    case Range::zero_to_one:
      return "in [0, 1]";
    case Range::zero_to_below_1:
      return "in [0, 1)";
    case Range::above_0_to_1:
      return "in (0, 1]";
    case Range::flag:
      return "bool";
    case Range::count:
      return "in [1, 99]";
  }
  return "";
}

PyObject* step_of_rule(PyObject* capsule, PyObject* const* arguments, Py_ssize_t count) {
  const auto* rule = static_cast<const Rule*>(PyCapsule_GetPointer(capsule, nullptr));
  return with_errors<PyObject*>(nullptr,
                                [&] { return functional_step(*rule, arguments, count).release(); });
}

// The options of a rule with their ranges; what its state has, means of rows and of columns, arrays
// with whether a state may leave them out, numbers with where they begin; its step, how many sums
// it wants of an array before, and the array of its state that it only reads.
py::object described(const py::object& make, const Rule& rule) {
  py::dict options, arrays, scalars;
  py::list factors;
  for (const char* factor : rule.factors) factors.append(factor);
  for (const Option& option : rule.options) options[option.name] = text_of(option.range);
  for (const StateArray& array : rule.arrays) arrays[array.name] = array.optional;
  for (const StateScalar& scalar : rule.scalars) scalars[scalar.name] = scalar.start;
  static std::vector<PyMethodDef> methods(all_rules().count);
  PyMethodDef& method = methods[&rule - all_rules().begin()];
  method = method_of(function_of(rule), step_of_rule);
  const Object capsule = Object::made(PyCapsule_New(const_cast<Rule*>(&rule), nullptr, nullptr));
  const py::object step = to_pybind(Object::made(PyCFunction_New(&method, capsule.ptr())));
  const RuleVariant& variant = rule.variants[0];
  const py::object only_read =
      variant.only_read < 0 ? py::none() : py::object(py::str(rule.arrays[variant.only_read].name));
  return make(options, factors, arrays, scalars, step, variant.sums, only_read);
}

py::object default_of(const Declared& declared) {
  const bool none = declared.kind == Kind::number_or_none || declared.kind == Kind::threads ||
                    declared.kind == Kind::dropout || declared.kind == Kind::tree;
  if (none) return py::none();
  if (declared.option.range == Range::flag) return py::bool_(declared.option.otherwise != 0);
  return py::float_(declared.option.otherwise);
}

py::dict defaults(const Declared* first, int count) {
  py::dict all;
  for (int i = 0; i < count; ++i) all[first[i].option.name] = default_of(first[i]);
  return all;
}

}  // namespace

void add_rules(py::module_& module) {
  py::dict rules;
  const py::object make =
      py::module_::import("collections")
          .attr("namedtuple")("Rule", "options factors arrays numbers step sums only_read");
  module.attr("Rule") = make;
  for (const Rule& rule : all_rules()) rules[rule.name] = described(make, rule);
  module.attr("rules") = rules;
  module.attr("term_defaults") = defaults(step_options, term_count);
  module.attr("shared_defaults") = defaults(step_options + term_count, shared_count);
  module.attr("object_defaults") = defaults(step_options + first_object, object_count);
}

}  // namespace fastopt
