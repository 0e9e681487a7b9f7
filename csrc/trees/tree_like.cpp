#include "tree_like.hpp"

#include "../python/errors.hpp"
#include "dataclass_fields.hpp"

namespace fastopt {
namespace {

class Maker {
 public:
  Maker(const char* function, const NamedTree& tree, PyObject* leaves)
      : function_(function), tree_(tree), leaves_(leaves) {}

  Object make() {
    Object made = like(tree_.root, 0);
    if (next_ != PyTuple_GET_SIZE(leaves_)) raise_changed();
    return made;
  }

 private:
  Object like(PyObject* node, int depth) {
    if (depth > max_depth) raise_changed();  // into what contains itself
    if (PyDict_Check(node)) return like_dict(node, depth + 1);
    if (PyList_Check(node) || PyTuple_Check(node)) return like_sequence(node, depth + 1);
    if (is_dataclass_instance(node)) return like_dataclass(node, depth + 1);
    if (next_ == PyTuple_GET_SIZE(leaves_)) raise_changed();
    return Object::borrow(PyTuple_GET_ITEM(leaves_, next_++));
  }

  Object like_dict(PyObject* node, int depth) {
    Object made = Object::made(PyDict_New());
    const Object keys = Object::made(PySequence_List(node));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(keys.ptr()); ++i) {
      PyObject* key = PyList_GET_ITEM(keys.ptr(), i);
      const Object child = Object::made(PyObject_GetItem(node, key));
      if (PyDict_SetItem(made.ptr(), key, like(child.ptr(), depth).ptr()) < 0) throw PythonError{};
    }
    return made;
  }

  Object like_sequence(PyObject* node, int depth) {
    const Object children = Object::made(PySequence_Tuple(node));
    const Py_ssize_t length = PyTuple_GET_SIZE(children.ptr());
    Object made = Object::made(PyList_Check(node) ? PyList_New(length) : PyTuple_New(length));
    for (Py_ssize_t i = 0; i < length; ++i) {
      PyObject* child = like(PyTuple_GET_ITEM(children.ptr(), i), depth).release();
      if (PyList_Check(node))
        PyList_SET_ITEM(made.ptr(), i, child);
      else
        PyTuple_SET_ITEM(made.ptr(), i, child);
    }
    return made;
  }

  // As a dict: to make an instance would run code of the user's.
  Object like_dataclass(PyObject* node, int depth) {
    Object made = Object::made(PyDict_New());
    const auto fields = DataclassFields::of(node);
    for (int field = 0; field < fields->count(); ++field) {
      const Object child = Object::steal(fields->read(node, field));
      if (!child) raise_changed();
      if (PyDict_SetItem(made.ptr(), fields->name(field), like(child.ptr(), depth).ptr()) < 0)
        throw PythonError{};
    }
    return made;
  }

  [[noreturn]] void raise_changed() const {
    raise_value_error(std::string(function_) + ": " + tree_.name + " changed while it was read");
  }

  const char* function_;
  const NamedTree& tree_;
  PyObject* leaves_;
  Py_ssize_t next_ = 0;
};

}  // namespace

Object tree_like(const char* function, const NamedTree& tree, PyObject* leaves) {
  return Maker(function, tree, leaves).make();
}

}  // namespace fastopt
