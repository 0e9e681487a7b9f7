// Trees for Python: checked, and taken apart.
#include "../arrays/collection.hpp"
#include "../arrays/dlpack.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

void check_params(const char* function, const py::object& params) {
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, /*written*/ true};
  Collection checked;
  checked.collect({function, &argument, 1});
}

// An array of zeros like each of the parameters, which are checked, in a list.
py::object zeros_like(const char* function, const py::object& params) {
  const ArrayArgument argument{{"params", "", params.ptr()}, Streams::param, /*written*/ true};
  Collection checked;
  checked.collect({function, &argument, 1});
  Object list = Object::made(PyList_New(checked.entries()));
  for (int entry = 0; entry < checked.entries(); ++entry) {
    PyArrayObject* like = as_array(checked.nodes(entry)[0]);
    PyObject* made = Object::made(PyArray_NewLikeArray(like, NPY_KEEPORDER, nullptr, 0)).release();
    PyList_SET_ITEM(list.ptr(), entry, made);
    const WithoutGil released(PyArray_NBYTES(as_array(made)) >= 1 << 20);
    PyArray_FILLWBYTE(as_array(made), 0);
  }
  return to_pybind(std::move(list));
}

// An array that shares the memory of a leaf: itself, if it is one.
py::object array_of(const char* function, const std::string& name, const py::object& leaf) {
  if (PyArray_Check(leaf.ptr())) return leaf;
  if (!offers_dlpack(leaf.ptr()))
    raise_type_error(std::string(function) + ": " + name + " must be a NumPy array, not " +
                     why_not_plain(leaf.ptr()));
  std::string why;
  Object view = view_of(leaf.ptr(), why);
  if (!view) raise_type_error(std::string(function) + ": " + name + " is " + why);
  return to_pybind(std::move(view));
}

// What another tree has in the places of the arrays of params, in their order. With `prefix`, what
// is no container stands for all in its place.
py::list matched(const char* function, const py::object& params, const char* name,
                 const py::object& tree, bool prefix) {
  const NamedTree trees[] = {{"params", "", params.ptr()}, {name, "", tree.ptr(), prefix}};
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
  module.def("as_array", array_of, py::arg("function"), py::arg("name"), py::arg("leaf"));
  module.def("zeros_like", zeros_like, py::arg("function"), py::arg("params"));
  module.def("matched", matched, py::arg("function"), py::arg("params"), py::arg("name"),
             py::arg("tree"), py::arg("prefix") = false);
}

}  // namespace fastopt
