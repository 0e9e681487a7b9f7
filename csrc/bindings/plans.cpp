// _core.Plan: what makes the steps of an optimizer object.
#include "../step/plan.hpp"
#include "options.hpp"

namespace fastopt {
namespace {

HeldOptions held(py::handle options) {
  return {Object::borrow(options.ptr()), &options_in(options)};
}

std::unique_ptr<Plan> new_plan(const std::string& rule, const std::string& owner,
                               const py::object& params, const std::vector<int>& group_of_entry,
                               const py::sequence& groups, const py::object& shared,
                               const py::sequence& states, const py::object& averages,
                               const py::object& average_tree, const py::object& count,
                               std::vector<double> ema_weights) {
  const Rule* found = find_rule(rule);
  if (!found) throw py::value_error("Plan: there is no rule of this name");
  const auto is_right = [](py::handle options, const Rule* wanted) {
    return options_in(options).rule() == wanted;
  };
  for (py::handle group : groups)
    if (!is_right(group, found)) throw py::value_error("Plan: options of another rule");
  if (!is_right(shared, nullptr)) throw py::value_error("Plan: shared must be no group");
  if (groups.size() != states.size()) throw py::value_error("Plan: one state for each group");
  Plan::Parts parts;
  parts.rule = found;
  parts.owner = owner;
  parts.params = Object::borrow(params.ptr());
  parts.group_of_entry = group_of_entry;
  for (py::handle group : groups) parts.groups.push_back(held(group));
  for (py::handle state : states) parts.states.push_back(Object::borrow(state.ptr()));
  parts.shared = held(shared);
  parts.averages = Object::borrow(averages.ptr());
  parts.average_tree = Object::borrow(average_tree.ptr());
  parts.count = {Object::borrow(count.ptr()), &count.cast<StepCount&>()};
  parts.ema_weights = std::move(ema_weights);
  return std::make_unique<Plan>(std::move(parts));
}

Plan::StepArguments step_arguments(PyObject* const* arguments, Py_ssize_t count) {
  if (count != 7 || !PyDict_Check(arguments[5]))
    throw std::invalid_argument("step: seven arguments, the sixth a dict");
  return {arguments[0], arguments[1], arguments[2], arguments[3],
          arguments[4], arguments[5], arguments[6]};
}

PyObject* step(PyObject* plan, PyObject* const* arguments, Py_ssize_t count) {
  return with_errors<PyObject*>(nullptr, [&] {
    return py::handle(plan).cast<Plan&>().step(step_arguments(arguments, count)).release();
  });
}

PyObject* accumulate(PyObject* plan, PyObject* const* arguments, Py_ssize_t count) {
  return with_errors<PyObject*>(nullptr, [&] {
    if (count != 3) throw std::invalid_argument("accumulate: three arguments");
    Plan& sums = py::handle(plan).cast<Plan&>();
    return sums.accumulate(arguments[0], arguments[1], arguments[2]).release();
  });
}

// A function whose self is a plan, which it keeps alive.
py::object bound(PyMethodDef& method, py::handle plan) {
  return to_pybind(Object::made(PyCFunction_New(&method, plan.ptr())));
}

// A schedule may refer to the optimizer that it belongs to, through which the garbage collector
// must find its way. (To break such a circle is left to the options in it.)
int traverse_plan(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!py::detail::is_holder_constructed(self)) return 0;
  return py::handle(self).cast<Plan&>().for_each_held([&](PyObject* held) {
    Py_VISIT(held);
    return 0;
  });
}

void collect_garbage_in(PyHeapTypeObject* plans) {
  plans->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  plans->ht_type.tp_traverse = traverse_plan;
  plans->ht_type.tp_clear = [](PyObject*) { return 0; };
}

// The turn of a call that is more than a step; see Plan::Turn. For a `with` block.
class HeldTurn {
 public:
  HeldTurn(py::object plan, const char* function)
      : plan_(std::move(plan)), turn_(*plan_.cast<Plan*>(), function) {}
  void end() { turn_.end(); }

  // Makes a step of a plan that has this turn in common with ours.
  py::object step(Plan& plan, const py::tuple& arguments) const {
    return to_pybind(plan.step_in_turn(
        step_arguments(PySequence_Fast_ITEMS(arguments.ptr()), arguments.size())));
  }

 private:
  py::object plan_;
  Plan::Turn turn_;
};

}  // namespace

void add_plans(py::module_& module) {
  static PyMethodDef step_method = method_of("step", step);
  static PyMethodDef accumulate_method = method_of("accumulate", accumulate);
  py::class_<HeldTurn>(module, "_Turn", plain_metaclass())
      .def("__enter__", [](py::object turn) { return turn; })
      .def("step", &HeldTurn::step, py::arg("plan"), py::arg("arguments"))
      .def("__exit__", [](HeldTurn& turn, const py::args&) { turn.end(); });
  py::class_<Plan>(module, "Plan", plain_metaclass(), py::custom_type_setup(collect_garbage_in))
      .def(py::init(&new_plan), py::arg("rule"), py::arg("owner"), py::arg("params"),
           py::arg("group_of_entry"), py::arg("groups"), py::arg("shared"), py::arg("states"),
           py::arg("averages"), py::arg("average_tree"), py::arg("count"), py::arg("ema_weights"))
      .def_property_readonly("step", [](py::handle self) { return bound(step_method, self); })
      .def_property_readonly("accumulate",
                             [](py::handle self) { return bound(accumulate_method, self); })
      .def_property_readonly(
          "params",
          [](const Plan& plan) { return py::reinterpret_borrow<py::object>(plan.params()); })
      .def_property("frozen", &Plan::frozen, &Plan::set_frozen)
      .def(
          "use_sums",
          [](Plan& plan, const py::object& tree, long long count, double weight, long long skipped,
             std::vector<unsigned char> has, std::vector<unsigned char> frozen) {
            plan.use_sums(tree.ptr(), {count, weight, skipped, std::move(has), std::move(frozen)});
          },
          py::arg("tree"), py::arg("count"), py::arg("weight"), py::arg("skipped"), py::arg("has"),
          py::arg("frozen"))
      .def_property_readonly("added",
                             [](const Plan& plan) {
                               const Plan::Added added = plan.added();
                               return py::make_tuple(added.count, added.weight, added.skipped,
                                                     added.has, added.frozen);
                             })
      .def("discard_sums", &Plan::discard_sums, py::arg("function"))
      .def(
          "turn",
          [](const py::object& self, const char* function) {
            return std::make_unique<HeldTurn>(self, function);
          },
          py::arg("function"))
      .def(
          "swap_in",
          [](Plan& plan, const char* function, const py::object& token, const py::object& arrays,
             std::string what) {
            plan.swap_in(function, token.ptr(), arrays.ptr(), std::move(what));
          },
          py::arg("function"), py::arg("token"), py::arg("arrays"), py::arg("what"))
      .def(
          "swap_back",
          [](Plan& plan, const char* function, const py::object& token) {
            plan.swap_back(function, token.ptr());
          },
          py::arg("function"), py::arg("token"))
      .def_property_readonly("waiting", &Plan::waiting)
      .def("check_not_swapped", &Plan::check_not_swapped, py::arg("function"))
      .def_property("ema_weights", &Plan::ema_weights, &Plan::set_ema_weights);
  module.def("told", [] {
    const Told& latest = told();
    py::dict all;
    all["threads"] = latest.threads;
    all["flush_denormals"] = latest.flush_denormals;
    all["entries"] = latest.entries;
    all["glances"] = latest.glances;
    return all;
  });
}

}  // namespace fastopt
