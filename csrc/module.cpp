// The bindings: what fastopt/_core.pyi declares, and nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <stdexcept>

#include "activations.hpp"
#include "arrays.hpp"
#include "gil.hpp"
#include "isa/isa.hpp"
#include "max_norm.hpp"
#include "memory_probe.hpp"
#include "norm.hpp"
#include "numpy_array.hpp"
#include "parallel.hpp"
#include "penalty.hpp"
#include "step.hpp"
#include "swap.hpp"

namespace py = pybind11;

namespace fastopt {
namespace {

// Steps bypass pybind11's dispatch, which would take longer than a small step.
template <class Call>
PyObject* with_errors(const Call& call) {
  try {
    return call().release();
  } catch (const PythonError&) {  // Python has it already
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <class Family, Object (*function)(Family, PyObject* const*, Py_ssize_t)>
PyObject* fast(PyObject* /*module*/, PyObject* const* arguments, Py_ssize_t count) {
  return with_errors([&] { return function(Family{}, arguments, count); });
}

py::object to_pybind(Object object) { return py::reinterpret_steal<py::object>(object.release()); }

template <class Family>
PyObject* fast_prepared(PyObject* prepared, PyObject* grads) {
  return with_errors([&] { return run_prepared(Family{}, prepared, grads); });
}

// The functions of one family: adam_step, adam_check, adam_plan, adam_prepare.
template <class Options, template <class> class... Variant>
void add_family(py::module_& module, Family<Options, Variant...> family) {
  using Its = Family<Options, Variant...>;
  static const std::string step_name = Options::function;
  static const std::string rule = step_name.substr(0, step_name.rfind('_'));
  static const std::string check = rule + "_check";
  const auto method = [](const char* name, auto function, int kind) {
    return PyMethodDef{name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), kind,
                       nullptr};
  };
  static PyMethodDef methods[] = {
      method(step_name.c_str(), fast<Its, step<Options, Variant...>>, METH_FASTCALL),
      method(check.c_str(), fast<Its, check_options<Options, Variant...>>, METH_FASTCALL),
      {nullptr, nullptr, 0, nullptr}};
  if (PyModule_AddFunctions(module.ptr(), methods) < 0) throw PythonError{};
  module.def((rule + "_plan").c_str(),
             [family](const std::string& function, const py::object& params,
                      const std::vector<int>& group_of_entry, const py::list& states,
                      const py::object& ema, const py::object& count) {
               return to_pybind(make_plan(family, function, params.ptr(), group_of_entry,
                                          states.ptr(), ema.ptr(), count.ptr()));
             },
             py::arg("function"), py::arg("params"), py::arg("group_of_entry"), py::arg("states"),
             py::arg("ema"), py::arg("count"));
  static PyMethodDef prepared = method("prepared_step", fast_prepared<Its>, METH_O);
  module.def((rule + "_prepare").c_str(),
             [family](const py::object& plan, const py::tuple& groups, const py::dict& shared,
                      const py::object& cleared) {
               const Object capsule =
                   prepare_step(family, plan.ptr(), groups.ptr(), shared.ptr(), cleared.ptr());
               return to_pybind(Object::made(PyCFunction_New(&prepared, capsule.ptr())));
             },
             py::arg("plan"), py::arg("groups"), py::arg("shared"), py::arg("cleared"));
}

template <class... Family>
void add_families(py::module_& module, FamilyList<Family...>) {
  (add_family(module, Family{}), ...);
}

void check_params(const char* function, py::object params) {
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, true};
  TensorList().collect(function, {&argument, 1});
}

int threads_or_default(const char* function, py::handle threads) {
  return threads.is_none() ? get_num_threads() : thread_count(function, "threads", threads.ptr());
}

py::tuple global_norm(py::object grads, py::object threads) {
  const char* function = "global_norm";
  const ArrayArgument argument{{"grads", "", grads.ptr()}, Streams::param, false};
  const int count = threads_or_default(function, threads);
  TensorList list;
  list.collect(function, {&argument, 1}, sum_chunk);
  Norms norms;
  norms.measure(list, count);
  py::object nonfinite = py::none();
  if (norms.nonfinite_entry >= 0)
    nonfinite = py::str("grads" + path_of_leaf(argument.tree, norms.nonfinite_entry));
  return py::make_tuple(norms.global, nonfinite);
}

double penalty(py::object params, py::object l1, py::object l2, py::object threads) {
  const char* function = "penalty";
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, false};
  const auto read = [&](const char* name, py::handle given) {
    return to_penalty(function, name, given.ptr());
  };
  Penalties penalties{};
  penalties.at[Penalties::l1] = read("l1", l1);
  penalties.at[Penalties::l2] = read("l2", l2);
  const int count = threads_or_default(function, threads);
  TensorList list;
  list.collect(function, {&argument, 1, &penalties}, sum_chunk);
  return penalty_of(list, count);
}

std::vector<std::int64_t> count_zeros(py::object params, py::object threads) {
  const char* function = "sparsity";
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, false};
  const int count = threads_or_default(function, threads);
  TensorList list;
  list.collect(function, {&argument, 1}, sum_chunk);
  return zeros_of(list, count);
}

// Swaps parameters and averages unless that is how they are, which `swapped` tells and is told: in
// one call, so that no signal comes in between. To swap back, arrays need not be writeable: they
// were when they were swapped.
void swap_averages(const char* function, py::tuple params, py::tuple averages, py::object swapped,
                   bool wanted) {
  npy_int64& now = *only_element(swapped.ptr());
  if (now == wanted) return;
  const ArrayArgument arguments[] = {{{"params", "", params.ptr()}, Streams::param, wanted},
                                     {{"ema", "", averages.ptr()}, Streams::ema, wanted}};
  TensorList list;
  list.collect(function, {arguments, 2});
  swap_contents(list);
  now = wanted;
}

// The turn of a call that is no step; see Plan::Turn. For a `with` block.
class HeldTurn {
 public:
  HeldTurn(const char* function, py::object plan)
      : plan_(std::move(plan)),
        turn_(*from_capsule<const Plan>(plan_.ptr(), plan_name), function) {}
  void end() { turn_.end(); }

 private:
  py::object plan_;
  Plan::Turn turn_;
};

void max_norm(py::list arrays, std::vector<int> vector_axes, py::object limit, py::object threads) {
  const char* function = "max_norm";
  const double longest = to_number(function, "limit", Range::positive, limit.ptr());
  const int count = threads_or_default(function, threads);
  // Once more, and held: whoever shares the tree may have changed it since its entries were named.
  const ArrayArgument argument{{"params", "", arrays.ptr()}, Streams::param, true};
  TensorList list;
  list.collect(function, {&argument, 1});
  for (std::size_t i = 0; i < arrays.size(); ++i)
    limit_norms(StridedArray(py::object(arrays[i]).ptr()), vector_axes.at(i), longest, count);
}

DropoutStream dropout_stream(const char* function, py::handle p, py::handle seed,
                             py::handle offset) {
  return {to_number(function, "p", Range::zero_to_one, p.ptr()),
          to_uint64(function, "seed", seed.ptr()), to_uint64(function, "offset", offset.ptr())};
}

PyObject* or_null(py::handle object) { return object.is_none() ? nullptr : object.ptr(); }

void dropout(const char* function, const char* name, py::object x, py::object p, py::object seed,
             py::object offset, const char* out_name, py::object out, py::object mask,
             py::object mask_out, py::object threads) {
  const DropoutStream stream = dropout_stream(function, p, seed, offset);
  const int count = threads_or_default(function, threads);
  drop_activations(function, {name, x.ptr()}, {out_name, out.ptr()}, stream,
                   {"mask", or_null(mask)}, {"mask_out", or_null(mask_out)}, count);
}

void check_dropout(const char* function, py::object p, py::object seed, py::object offset) {
  dropout_stream(function, p, seed, offset);
}

void dropout_mask(py::buffer out, std::int64_t elements, py::object p, py::object seed,
                  py::object offset, bool packed, py::object threads) {
  const char* function = "dropout_mask";
  const DropoutStream stream = dropout_stream(function, p, seed, offset);
  const int count = threads_or_default(function, threads);
  const py::buffer_info bytes = out.request(/*writable=*/true);
  write_mask(stream, elements, packed, static_cast<std::uint8_t*>(bytes.ptr), count);
}

void run_probe(const std::string& function, const Arguments& arguments, py::handle threads,
               void (*probe)(const TensorList& list, int threads)) {
  TensorList list;
  list.collect(function.c_str(), arguments);
  if (!list.layouts.empty()) raise_value_error(function + ": arrays must be contiguous");
  probe(list, thread_count(function.c_str(), "threads", threads.ptr()));
}

void memory_probe(py::object params, py::object grads, py::tuple states, py::object threads) {
  if (states.size() > Streams::max_states) raise_value_error("memory_probe: too many states");
  std::vector<ArrayArgument> arguments{{{"params", "", params.ptr()}, Streams::param, true},
                                       {{"grads", "", grads.ptr()}, Streams::grad, false}};
  int stream = Streams::first_state;
  for (py::handle state : states)
    arguments.push_back({{"states", "", state.ptr()}, stream++, true});
  const Arguments all{arguments.data(), static_cast<int>(arguments.size())};
  run_probe("memory_probe", all, threads, probe_memory);
}

void copy_probe(py::object to, py::object from, py::object threads) {
  const ArrayArgument arguments[] = {{{"to", "", to.ptr()}, Streams::param, true},
                                     {{"from", "", from.ptr()}, Streams::grad, false}};
  run_probe("copy_probe", {arguments, 2}, threads, probe_copy);
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_tables()) names.push_back(table->name);
  return names;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#elif defined(_MSC_VER)
  return "msvc " + std::to_string(_MSC_VER);
#else
  return "unknown";
#endif
}

void define(py::module_& module) {
  import_numpy();
  const char* forced = std::getenv("FASTOPT_ISA");
  try {
    select_table(forced && *forced ? forced : available_tables().front()->name);
  } catch (const std::invalid_argument& error) {
    throw py::import_error(std::string("FASTOPT_ISA: ") + error.what());
  }

  KeywordReader::learn_names();
  add_families(module, Families{});
  module.def(
      "use_classes",
      [](const py::object& step_result, const py::object& dropout) {
        use_classes(step_result.ptr(), dropout.ptr());
      },
      py::arg("step_result"), py::arg("dropout"));
  module.def("check_params", check_params, py::arg("function"), py::arg("params"));
  module.def("swap_averages", swap_averages, py::arg("function"), py::arg("params"),
             py::arg("averages"), py::arg("swapped"), py::arg("wanted"));
  py::class_<HeldTurn>(module, "_Turn")
      .def("__enter__", [](HeldTurn&) {})
      .def("__exit__", [](HeldTurn& turn, const py::args&) { turn.end(); });
  module.def(
      "turn",
      [](const char* function, py::object plan) {
        return std::make_unique<HeldTurn>(function, std::move(plan));
      },
      py::arg("function"), py::arg("plan"));
  module.def("global_norm", global_norm, py::arg("grads"), py::arg("threads"));
  module.def("penalty", penalty, py::arg("params"), py::arg("l1"), py::arg("l2"),
             py::arg("threads"));
  module.def("count_zeros", count_zeros, py::arg("params"), py::arg("threads"));
  module.def("max_norm", max_norm, py::arg("arrays"), py::arg("vector_axes"), py::arg("limit"),
             py::arg("threads"));
  module.def("dropout", dropout, py::arg("function"), py::arg("name"), py::arg("x"), py::arg("p"),
             py::arg("seed"), py::arg("offset"), py::arg("out_name"), py::arg("out"),
             py::arg("mask"), py::arg("mask_out"), py::arg("threads"));
  module.def("check_dropout", check_dropout, py::arg("function"), py::arg("p"), py::arg("seed"),
             py::arg("offset"));
  module.def("dropout_mask", dropout_mask, py::arg("out"), py::arg("elements"), py::arg("p"),
             py::arg("seed"), py::arg("offset"), py::arg("packed"), py::arg("threads"));
  module.def("memory_probe", memory_probe, py::arg("params"), py::arg("grads"), py::arg("states"),
             py::arg("threads"));
  module.def("copy_probe", copy_probe, py::arg("to"), py::arg("from_"), py::arg("threads"));
  module.def("isa", [] { return std::string(current_table().name); });
  module.def("available_isas", available_isas);
  module.def("select_isa", select_table, py::arg("name"));
  module.attr("max_threads") = max_threads;
  module.def("get_num_threads", get_num_threads);
  module.def(
      "set_num_threads",
      [](py::object n) {
        const int count = thread_count("set_num_threads", "n", n.ptr());
        PyThreadState* released = give_gil_away();  // it may wait for a step to end
        set_num_threads(count);
        take_gil_back(released);
      },
      py::arg("n"));
  module.def("compiler", compiler);
}

}  // namespace
}  // namespace fastopt

// By this symbol threadpoolctl tells our library from others of its name.
extern "C" PYBIND11_EXPORT int fastopt_is_loaded() { return 1; }

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  using fastopt::PythonError;
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const PythonError&) {  // Python has it already
    }
  });
  try {
    fastopt::define(module);
  } catch (const PythonError&) {
    throw py::error_already_set();  // no translator is asked here
  }
}
