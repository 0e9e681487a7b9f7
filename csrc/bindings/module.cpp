// The table of contents of the core, which fastopt/_core.pyi declares.
#include "../arrays/numpy_array.hpp"
#include "../step/names.hpp"
#include "../step/options/declared.hpp"
#include "../step/step.hpp"
#include "../trees/dataclass_fields.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

void define(py::module_& module) {
  import_numpy();
  import_dataclasses();
  intern_names();
  add_rules(module);
  add_options(module);
  add_plans(module);
  add_dropout(module);
  add_sums(module);
  add_trees(module);
  add_probes(module);
  add_settings(module);
  add_c_functions(module);
  module.def(
      "use_classes",
      [](const py::object& step_result, const py::object& dropout) {
        use_result_class(step_result.ptr());
        use_dropout_class(dropout.ptr());
      },
      py::arg("step_result"), py::arg("dropout"));
  module.def(
      "use_orthogonalizer",
      [](const py::object& orthogonalize) { Step::use_orthogonalizer(orthogonalize.ptr()); },
      py::arg("orthogonalize"));
  module.def(
      "use_other_names", [](const py::object& instead_of) { use_other_names(instead_of.ptr()); },
      py::arg("instead_of"));
  module.def(
      "instead_of",
      [](const char* rule, const py::object& name) {
        return instead_of(rule ? find_rule(rule) : nullptr, name.ptr());
      },
      py::arg("rule").none(true), py::arg("name"));
}

}  // namespace
}  // namespace fastopt

// By this symbol threadpoolctl tells our library from others of its name.
extern "C" PYBIND11_EXPORT int fastopt_is_loaded() { return 1; }

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using fastopt::PythonError;
  pybind11::register_local_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const PythonError&) {  // Python has it already
    }
  });
  try {
    fastopt::define(module);
  } catch (const PythonError&) {
    throw pybind11::error_already_set();  // no translator is asked here
  }
}
