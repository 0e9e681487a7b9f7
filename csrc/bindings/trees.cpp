// Trees for Python: checked, and taken apart.
#include "../arrays/collection.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

void check_params(const char* function, const py::object& params) {
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, /*written*/ true};
  Collection checked;
  checked.collect({function, &argument, 1});
}

// What another tree has in the places of the arrays of params, in their order.
py::list matched(const char* function, const py::object& params, const char* name,
                 const py::object& tree) {
  const NamedTree trees[] = {{"params", "", params.ptr()}, {name, "", tree.ptr()}};
  Leaves leaves;
  leaves.read(function, trees, 2);
  py::list found;
  for (int entry = 0; entry < leaves.entries(); ++entry)
    found.append(py::handle(leaves.of(entry)[1]));
  return found;
}

}  // namespace

void add_trees(py::module_& module) {
  module.def("check_params", check_params, py::arg("function"), py::arg("params"));
  module.def("matched", matched, py::arg("function"), py::arg("params"), py::arg("name"),
             py::arg("tree"));
}

}  // namespace fastopt
