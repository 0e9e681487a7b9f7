// Nested lists, tuples, dicts and dataclass instances, read together. It knows no arrays: whatever
// is no container is a leaf.
#pragma once
#include <Python.h>

#include <string>
#include <vector>

#include "../python/object.hpp"

namespace fastopt {

struct NamedTree {
  const char* name;           // as the user knows it: "grads", or "m" where
  const char* belongs_to;     // it belongs to "state."
  PyObject* root = nullptr;   // borrowed
  bool prefix = false;        // what is no container stands for all leaves in its place
  bool none_for_all = false;  // None does
};

constexpr int max_trees = 22;

// Deeper trees are taken for containers that contain themselves.
constexpr int max_depth = 100;

bool is_container(PyObject* node);

// The leaves of trees[0], each with what stands in its place in the other trees. It holds them all:
// reading may run code of the user's (the comparison of dict keys), so that only what is found
// afterwards stays true.
class Leaves {
 public:
  Leaves() = default;
  ~Leaves() { clear(); }
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;

  // Throws where another tree has a different structure.
  void read(const char* function, const NamedTree* trees, int count);

  int entries() const { return static_cast<int>(nodes_.size()) / trees_; }

  // What stands in place of leaf number `entry`, one node for each tree.
  PyObject* const* of(int entry) const { return nodes_.data() + std::size_t(entry) * trees_; }

  // Lets something else stand in place of a node.
  void replace(int entry, int tree, Object node);

  void clear();

 private:
  friend std::string path_of_leaf(const NamedTree& tree, int entry);

  std::vector<PyObject*> nodes_;
  int trees_ = 1;
};

// The path text of leaf number `entry`, such as ['layers'][0]; empty for the root.
std::string path_of_leaf(const NamedTree& tree, int entry);

}  // namespace fastopt
