// Nested lists, tuples and dicts, walked together. It knows no arrays: whatever is no container is
// a leaf.
#pragma once
#include <Python.h>

#include <string>

namespace fastopt {

// The way to an entry of a tree. Links live on the stack of the walk; only an error makes text.
struct Path {
  const Path* parent;
  PyObject* key;     // of a dict, else null
  Py_ssize_t index;  // of a list or tuple

  std::string text() const;  // such as ['layers'][0]; empty for the root, which has no parent
};

struct LeafVisitor {
  virtual void leaf(PyObject* const* nodes, const Path& path) = 0;

 protected:
  ~LeafVisitor() = default;
};

struct NamedTree {
  const char* name;           // as the user knows it: "grads", or "m" where
  const char* belongs_to;     // it belongs to "state."
  PyObject* root = nullptr;   // borrowed
  bool prefix = false;        // what is no container stands for all leaves in its place
  bool none_for_all = false;  // None does

  std::string name_of(const Path& path) const { return belongs_to + (name + path.text()); }
};

constexpr int max_trees = 12;

bool is_container(PyObject* node);

// Visits every leaf of trees[0] together with what stands in its place in the other trees. Throws
// where another tree has a different structure.
void walk_trees(const char* function, const NamedTree* trees, int count, LeafVisitor& visitor);

// The path text of the leaf that the walk over this tree visits as number `entry`.
std::string path_of_leaf(const NamedTree& tree, int entry);

}  // namespace fastopt
