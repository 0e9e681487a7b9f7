// The bindings: what fastopt/_core.pyi declares, and nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <stdexcept>

#include "arrays.hpp"
#include "isa/isa.hpp"
#include "memory_probe.hpp"
#include "norm.hpp"
#include "parallel.hpp"
#include "step.hpp"

namespace py = pybind11;

namespace fastopt {
namespace {

// Steps bypass pybind11's dispatch, which would take longer than a small step.
template <class Family>
PyObject* fast_step(PyObject* /*module*/, PyObject* const* arguments, Py_ssize_t count) {
  try {
    return step(Family{}, arguments, count).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <class... Family>
void add_steps(py::module_& module, FamilyList<Family...>) {
  static PyMethodDef methods[] = {
      {Family::Options::function,
       reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(fast_step<Family>)), METH_FASTCALL,
       nullptr}...,
      {nullptr, nullptr, 0, nullptr}};
  if (PyModule_AddFunctions(module.ptr(), methods) < 0) throw py::error_already_set();
}

void check_params(const char* function, py::object params) {
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, true};
  TensorList().collect(function, &argument, 1);
}

py::tuple global_norm(py::object grads, py::object threads) {
  const char* function = "global_norm";
  const ArrayArgument argument{{"grads", "", grads.ptr()}, Streams::param, false};
  const int count =
      threads.is_none() ? get_num_threads() : thread_count(function, "threads", threads.ptr());
  TensorList list;
  list.collect(function, &argument, 1, norm_chunk);
  Norms norms;
  norms.measure(list, count);
  py::object nonfinite = py::none();
  if (norms.nonfinite_entry >= 0)
    nonfinite = py::str("grads" + path_of_leaf(argument.tree, norms.nonfinite_entry));
  return py::make_tuple(norms.global, nonfinite);
}

void memory_probe(py::object params, py::object grads, py::tuple states, py::object threads) {
  if (states.size() > Streams::max_states) throw py::value_error("memory_probe: too many states");
  std::vector<ArrayArgument> arguments{{{"params", "", params.ptr()}, Streams::param, true},
                                       {{"grads", "", grads.ptr()}, Streams::grad, false}};
  int stream = Streams::first_state;
  for (py::handle state : states)
    arguments.push_back({{"states", "", state.ptr()}, stream++, true});
  TensorList list;
  list.collect("memory_probe", arguments.data(), static_cast<int>(arguments.size()));
  if (!list.layouts.empty()) throw py::value_error("memory_probe: arrays must be contiguous");
  probe_memory(list, thread_count("memory_probe", "threads", threads.ptr()));
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

}  // namespace
}  // namespace fastopt

// By this symbol threadpoolctl tells our library from others of its name.
extern "C" PYBIND11_EXPORT int fastopt_is_loaded() { return 1; }

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  using namespace fastopt;
  import_numpy();
  const char* forced = std::getenv("FASTOPT_ISA");
  try {
    select_table(forced && *forced ? forced : available_tables().front()->name);
  } catch (const std::invalid_argument& error) {
    throw py::import_error(std::string("FASTOPT_ISA: ") + error.what());
  }

  add_steps(module, Families{});
  module.def("check_params", check_params, py::arg("function"), py::arg("params"));
  module.def("global_norm", global_norm, py::arg("grads"), py::arg("threads"));
  module.def("memory_probe", memory_probe, py::arg("params"), py::arg("grads"), py::arg("states"),
             py::arg("threads"));
  module.def("isa", [] { return std::string(current_table().name); });
  module.def("available_isas", available_isas);
  module.def("select_isa", select_table, py::arg("name"));
  module.attr("max_threads") = max_threads;
  module.def("get_num_threads", get_num_threads);
  module.def(
      "set_num_threads",
      [](py::object n) {
        const int count = thread_count("set_num_threads", "n", n.ptr());
        PyThreadState* released = PyEval_SaveThread();  // it may wait for a step to end
        set_num_threads(count);
        PyEval_RestoreThread(released);
      },
      py::arg("n"));
  module.def("compiler", compiler);
}
