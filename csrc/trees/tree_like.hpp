// A tree made anew, with other leaves.
#pragma once
#include "../python/object.hpp"
#include "tree.hpp"

namespace fastopt {

// Returns dicts, lists and tuples as they are in a tree, and dicts for dataclass instances, with
// what is in a tuple in place of its leaves, which must be as many. Runs code of the user's, if
// keys of dicts have some.
Object tree_like(const char* function, const NamedTree& tree, PyObject* leaves);

}  // namespace fastopt
