#include "tree.hpp"

#include <algorithm>

#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "../python/object.hpp"
#include "dataclass_fields.hpp"

namespace fastopt {
namespace {

enum class Kind { leaf, dict, list, tuple, dataclass };

Kind kind_of(PyObject* node) {
  return PyDict_Check(node)            ? Kind::dict
         : PyList_Check(node)          ? Kind::list
         : PyTuple_Check(node)         ? Kind::tuple
         : is_dataclass_instance(node) ? Kind::dataclass
                                       : Kind::leaf;
}

Py_ssize_t length_of(Kind kind, PyObject* node) {
  return kind == Kind::dict   ? PyDict_Size(node)
         : kind == Kind::list ? PyList_GET_SIZE(node)
                              : PyTuple_GET_SIZE(node);
}

// New references, or null where there is no such item. Comparing keys may run code of the user's
// that changes the containers, hence no borrowed ones.
PyObject* item_at(Kind kind, PyObject* node, Py_ssize_t index) {
  if (index >= length_of(kind, node)) return nullptr;
#if PY_VERSION_HEX >= 0x030D0000
  if (kind == Kind::list) {
    PyObject* item = PyList_GetItemRef(node, index);
    if (!item) PyErr_Clear();  // another thread has shortened it meanwhile
    return item;
  }
#endif
  return Py_NewRef(kind == Kind::list ? PyList_GET_ITEM(node, index)
                                      : PyTuple_GET_ITEM(node, index));
}

PyObject* item_of(PyObject* dict, PyObject* key) {
  PyObject* item = nullptr;
  if (!PyDict_CheckExact(dict)) {
    // A subclass may have its own order and items. (Asked first: a defaultdict would add the key.)
    const int found = PySequence_Contains(dict, key);
    if (found > 0) item = PyObject_GetItem(dict, key);
    if (found < 0 || (found > 0 && !item)) throw PythonError{};
    return item;
  }
#if PY_VERSION_HEX >= 0x030D0000
  if (PyDict_GetItemRef(dict, key, &item) < 0) throw PythonError{};
#else
  item = Py_XNewRef(PyDict_GetItemWithError(dict, key));
  if (!item && PyErr_Occurred()) throw PythonError{};
#endif
  return item;
}

// The way to an entry of a tree. Links live on the stack of the walk; only an error makes text.
struct Path {
  const Path* parent;
  Kind kind;         // of what the entry is in
  PyObject* key;     // of a dict, or the name of a field
  Py_ssize_t index;  // of a list or tuple

  std::string text() const {
    if (!parent) return "";
    if (kind == Kind::dataclass) return parent->text() + "." + text_of(key);
    return parent->text() + "[" + (key ? repr_of(key) : std::to_string(index)) + "]";
  }
};

// What stands at one place of all trees, held.
struct Nodes {
  const int count;
  PyObject* at[max_trees];

  // Takes over the last references in the list.
  Nodes(int trees, std::vector<PyObject*>& list) : count(trees) {
    std::copy(list.end() - trees, list.end(), at);
    list.resize(list.size() - trees);
  }
  ~Nodes() {
    for (int tree = 0; tree < count; ++tree) Py_DECREF(at[tree]);
  }
};

// How far a dict has been read whose keys have been the same as those of another, in one order.
// What is next then need not be looked up.
class InStep {
 public:
  PyObject* item(PyObject* dict, PyObject* key) {
#ifndef Py_GIL_DISABLED  // where other threads could change the dict meanwhile
    PyObject *its_key, *value;
    if (position_ >= 0 && PyDict_CheckExact(dict) &&
        PyDict_Next(dict, &position_, &its_key, &value) && its_key == key)
      return Py_NewRef(value);
    position_ = -1;
#endif
    return item_of(dict, key);
  }

 private:
  [[maybe_unused]] Py_ssize_t position_ = 0;
};

class Walk {
 public:
  Walk(const char* function, const NamedTree* trees, int count, std::vector<PyObject*>& leaves,
       int wanted = -1)
      : function_(function), trees_(trees), count_(count), leaves_(leaves), wanted_(wanted) {}

  // Reads all below the roots. Returns the path text of leaf number `wanted`.
  std::string read() {
    for (int tree = 0; tree < count_; ++tree) leaves_.push_back(Py_NewRef(trees_[tree].root));
    visit(Path{nullptr, Kind::leaf, nullptr, 0}, 0);
    return found_;
  }

 private:
  // Visits what has been added to the leaves last: there it stays, unless it is a container.
  void visit(const Path& path, int depth) {
    const Kind kind = kind_of(leaves_[leaves_.size() - count_]);
    if (kind != Kind::leaf) return visit_container(kind, path, depth);
    if (wanted_-- == 0) found_ = path.text();
  }

  void visit_container(Kind kind, const Path& path, int depth) {
    const Nodes held(count_, leaves_);
    PyObject* const* nodes = held.at;
    if (depth == max_depth)
      raise_value_error(here() + trees_[0].name + " is nested more than " +
                        std::to_string(max_depth) + " deep; does it contain itself?");
    if (kind == Kind::dataclass) check_reads_plainly(nodes, 0, path);
    for (int tree = 1; tree < count_; ++tree)
      if (!stands_for_all(tree, nodes)) check_container(kind, nodes, tree, path);
    if (kind == Kind::dict)
      visit_dict(nodes, path, depth);
    else if (kind == Kind::dataclass)
      visit_dataclass(nodes, path, depth);
    else
      visit_sequence(kind, nodes, path, depth);
  }

  void visit_dict(PyObject* const* nodes, const Path& path, int depth) {
    InStep in_step[max_trees];
    if (!PyDict_CheckExact(nodes[0])) return visit_dict_subclass(nodes, in_step, path, depth);
    // Other threads wait, unless comparing keys runs code that lets them in: hence the references.
    const CriticalSection lock(nodes[0]);
    Py_ssize_t position = 0;
    PyObject *key, *value;
    const Py_ssize_t length = PyDict_Size(nodes[0]);
    while (PyDict_Next(nodes[0], &position, &key, &value)) {
      const Object held_key = Object::borrow(key);
      visit_entry(nodes, key, Py_NewRef(value), in_step, path, depth);
      if (PyDict_Size(nodes[0]) != length)
        raise_value_error(here() + name(0, path) + " changed while it was read");
    }
  }

  void visit_dict_subclass(PyObject* const* nodes, InStep* in_step, const Path& path, int depth) {
    const Object keys = Object::made(PySequence_List(nodes[0]));
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(keys.ptr()); ++index) {
      PyObject* key = PyList_GET_ITEM(keys.ptr(), index);
      PyObject* value = item_of(nodes[0], key);
      if (!value) raise_value_error(here() + name(0, path) + " changed while it was read");
      visit_entry(nodes, key, value, in_step, path, depth);
    }
  }

  // Takes over the reference to `value`.
  void visit_entry(PyObject* const* nodes, PyObject* key, PyObject* value, InStep* in_step,
                   const Path& path, int depth) {
    leaves_.push_back(value);
    for (int tree = 1; tree < count_; ++tree) {
      PyObject* node = stands_for_all(tree, nodes) ? Py_NewRef(nodes[tree])
                                                   : in_step[tree].item(nodes[tree], key);
      if (!node) raise_no_entry(tree, key, path);
      leaves_.push_back(node);
    }
    visit(Path{&path, Kind::dict, key, 0}, depth + 1);
  }

  void visit_dataclass(PyObject* const* nodes, const Path& path, int depth) {
    const auto fields = DataclassFields::of(nodes[0]);
    InStep in_step[max_trees];
    for (int field = 0; field < fields->count(); ++field) {
      PyObject* name = fields->name(field);
      for (int tree = 0; tree < count_; ++tree) {
        PyObject* node = nodes[tree];
        PyObject* value = stands_for_all(tree, nodes) ? Py_NewRef(node)
                          : PyDict_Check(node)        ? in_step[tree].item(node, name)
                                                      : fields->read(node, field);
        if (!value) raise_no_field(nodes, tree, name, path);
        leaves_.push_back(value);
      }
      visit(Path{&path, Kind::dataclass, name, 0}, depth + 1);
    }
  }

  void visit_sequence(Kind kind, PyObject* const* nodes, const Path& path, int depth) {
    const Py_ssize_t length = length_of(kind, nodes[0]);
    for (Py_ssize_t index = 0; index < length; ++index) {
      for (int tree = 0; tree < count_; ++tree) {
        PyObject* node = stands_for_all(tree, nodes) ? Py_NewRef(nodes[tree])
                                                     : item_at(kind, nodes[tree], index);
        if (!node) raise_value_error(here() + name(tree, path) + " changed while it was read");
        leaves_.push_back(node);
      }
      visit(Path{&path, kind, nullptr, index}, depth + 1);
    }
  }

  bool stands_for_all(int tree, PyObject* const* nodes) const {
    return (trees_[tree].prefix && kind_of(nodes[tree]) == Kind::leaf) ||
           (trees_[tree].none_for_all && nodes[tree] == Py_None);
  }

  void check_container(Kind kind, PyObject* const* nodes, int tree, const Path& path) const {
    if (kind == Kind::dataclass) return check_dataclass(nodes, tree, path);
    if (kind_of(nodes[tree]) != kind)
      raise_type_error(here() + name(tree, path) + " must be a " + word(kind) + " like " +
                       name(0, path) + ", not " + type_of(nodes[tree]));
    const Py_ssize_t length = length_of(kind, nodes[0]), other = length_of(kind, nodes[tree]);
    if (length == other) return;
    if (kind == Kind::dict && other > length)  // fewer: the walk will name what is missing
      for_each_key(nodes[tree], [&](PyObject* key) {
        if (!Object::steal(item_of(nodes[0], key))) raise_too_many(tree, key, path);
      });
    if (kind != Kind::dict)
      raise_value_error(here() + name(tree, path) + " has length " + std::to_string(other) + ", " +
                        name(0, path) + " has length " + std::to_string(length));
  }

  // A dict may stand for a dataclass instance, and so may one of another class.
  void check_dataclass(PyObject* const* nodes, int tree, const Path& path) const {
    const Kind kind = kind_of(nodes[tree]);
    if (kind != Kind::dataclass && kind != Kind::dict)
      raise_type_error(here() + name(tree, path) + " must be a " + type_of(nodes[0]) +
                       ", or a dict like " + name(0, path) + ", not " + type_of(nodes[tree]));
    if (kind == Kind::dataclass) check_reads_plainly(nodes, tree, path);
    if (Py_TYPE(nodes[tree]) == Py_TYPE(nodes[0])) return;
    const auto fields = DataclassFields::of(nodes[0]);
    const auto check_key = [&](PyObject* key) {
      if (fields->find(key) < 0) raise_too_many(tree, key, path);
    };
    if (kind == Kind::dict) {  // fewer keys: the walk will name what is missing
      if (PyDict_Size(nodes[tree]) > fields->count()) for_each_key(nodes[tree], check_key);
    } else {
      const auto others = DataclassFields::of(nodes[tree]);
      for (int field = 0; field < others->count(); ++field) check_key(others->name(field));
    }
  }

  void check_reads_plainly(PyObject* const* nodes, int tree, const Path& path) const {
    if (!reads_plainly(Py_TYPE(nodes[tree])))
      raise_type_error(here() + name(tree, path) + " is a " + type_of(nodes[tree]) +
                       ", which has a __getattribute__ or __getattr__ of its own; only plain "
                       "attributes are read");
  }

  [[noreturn]] void raise_too_many(int tree, PyObject* key, const Path& path) const {
    raise_value_error(here() + name(tree, path) + " has an entry " + repr_of(key) + ", which " +
                      name(0, path) + " has not");
  }

  [[noreturn]] void raise_no_entry(int tree, PyObject* key, const Path& path) const {
    raise_value_error(here() + name(tree, path) + " has no entry " + repr_of(key) + ", which " +
                      name(0, path) + " has" +
                      (trees_[tree].none_for_all ? "; None leaves it out" : ""));
  }

  [[noreturn]] void raise_no_field(PyObject* const* nodes, int tree, PyObject* field,
                                   const Path& path) const {
    const std::string type = type_of(nodes[tree]);
    if (!PyDict_Check(nodes[tree]) && !is_read_plainly(Py_TYPE(nodes[tree]), field))
      raise_type_error(here() + name(tree, path) + "." + text_of(field) +
                       " must be a plain attribute, not one of " + type + "'s own");
    if (tree > 0) raise_no_entry(tree, field, path);
    raise_value_error(here() + name(0, path) + " has no attribute " + repr_of(field) +
                      ", which is a field of " + type);
  }

  template <class Call>
  static void for_each_key(PyObject* dict, const Call& call) {
    const CriticalSection lock(dict);
    PyObject *key, *value;
    for (Py_ssize_t position = 0; PyDict_Next(dict, &position, &key, &value);) {
      const Object held_key = Object::borrow(key);
      call(key);
    }
  }

  static const char* word(Kind kind) {
    return kind == Kind::dict ? "dict" : kind == Kind::list ? "list" : "tuple";
  }

  std::string here() const { return std::string(function_) + ": "; }

  std::string name(int tree, const Path& path) const {
    return trees_[tree].belongs_to + (trees_[tree].name + path.text());
  }

  const char* function_;
  const NamedTree* trees_;
  int count_;
  std::vector<PyObject*>& leaves_;
  int wanted_;
  std::string found_;
};

}  // namespace

bool is_container(PyObject* node) { return kind_of(node) != Kind::leaf; }

void Leaves::read(const char* function, const NamedTree* trees, int count) {
  clear();
  trees_ = count;
  Walk(function, trees, count, nodes_).read();
}

void Leaves::replace(int entry, int tree, Object node) {
  PyObject*& place = nodes_[std::size_t(entry) * trees_ + tree];
  Py_SETREF(place, node.release());
}

void Leaves::clear() {
  for (PyObject* node : nodes_) Py_DECREF(node);
  nodes_.clear();
}

std::string path_of_leaf(const NamedTree& tree, int entry) {
  Leaves leaves;
  return Walk("", &tree, 1, leaves.nodes_, entry).read();
}

}  // namespace fastopt
