// What a step counts in objects that the user holds: `state.step`, `drop.offset`. Where arrays have
// been updated unequally often, `state.step` is no int but has one for each.
#pragma once
#include <cstdint>
#include <vector>

#include "../python/attribute.hpp"

namespace fastopt {

// Throws unless the state is of this class (None where the rule has no state).
void check_state_class(const char* function, PyObject* state, PyObject* wanted);

// The slot of state.step in the instances of a class; throws where that counts in another way,
// which could run code of the user's in the middle of a step.
Slot slot_of_step(const char* function, PyTypeObject* type);

// Reads an attribute; an error names its owner.
Object attribute(const char* function, const char* of, PyObject* object, PyObject* name);

// What one step counts, which advances all or not at all.
class Counts {
 public:
  // Reads state.step and notes that it is to advance by one. Returns null; or, where it is no int
  // but has one for each array, that: then it is to be set below.
  PyObject* add_step(const char* function, PyObject* state, Slot slot, long long& step);
  void set_step(PyObject* state, Object value);

  // What add_step has returned, as a tree.
  PyObject* spelled_out(PyObject* state);  // borrowed

  // Reads drop.offset, and notes it; what it shall be then is set later.
  std::uint64_t add_offset(const char* function, PyObject* drop);
  void set_offset(std::uint64_t value);

  void advance();
  void clear();

 private:
  struct Count {
    PyObject *object, *name;  // borrowed
    Object before, after;
    Slot slot;

    bool set(PyObject* value) const;
  };

  Count& find(PyObject* object, PyObject* name);

  std::vector<Count> counts_;
  PyObject* drop_ = nullptr;
};

}  // namespace fastopt
