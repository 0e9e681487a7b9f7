// What a step counts in objects that the user holds: `state.step`, `drop.offset`.
#pragma once
#include <cstdint>
#include <vector>

#include "../python/attribute.hpp"

namespace fastopt {

// Throws unless the state is of this class (None where the rule has no state) and keeps its count
// as that does: others could run code of their own in the middle of a step.
void check_state_class(const char* function, PyObject* state, PyObject* wanted);

// The slot of state.step in instances of a class.
Slot slot_of_step(PyTypeObject* type);

// Reads an attribute; an error names its owner.
Object attribute(const char* function, const char* of, PyObject* object, PyObject* name);

// The counts of one step, which advance all or not at all.
class Counts {
 public:
  // Reads state.step and notes that it is to advance by one.
  long long add_step(const char* function, PyObject* state, Slot slot = {});

  // Reads drop.offset and notes that it is to advance.
  std::uint64_t add_offset(const char* function, PyObject* drop);
  void set_advance_of_offset(std::uint64_t by) { offset_advance_ = by; }

  void advance();
  void clear() { counts_.clear(); }

 private:
  struct Count {
    PyObject* object;  // borrowed
    PyObject* name;
    Object before;
    std::uint64_t value;
    bool is_offset;
    Object after;
  };

  std::vector<Count> counts_;
  std::uint64_t offset_advance_ = 0;
};

}  // namespace fastopt
