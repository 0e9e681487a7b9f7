// Giving the GIL away while threads work, and keeping other threads out where there is none.
#pragma once
#include <Python.h>

#include <chrono>
#include <cstdint>
#include <thread>

namespace fastopt {

// Below this many elements, work takes a few microseconds: no thread waits long for the GIL, and
// tensors need nobody who holds their memory.
constexpr std::int64_t release_threshold = 16384;

// Gives the GIL away, if that is wanted, for as long as this object lives.
class WithoutGil {
 public:
  explicit WithoutGil(bool wanted = true) : given_(wanted ? PyEval_SaveThread() : nullptr) {}
  ~WithoutGil() {
    if (!given_) return;
    try {
      PyEval_RestoreThread(given_);
    } catch (...) {
      // No exception: the interpreter has ended meanwhile, and ends this thread by unwinding its
      // stack. Objects of Python's live there that nobody may touch any more. So wait for the end
      // of the process, as Python itself does from 3.14 on.
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* given_;
};

// Keeps other threads from changing an object, in a Python without the GIL.
class CriticalSection {
 public:
#ifdef Py_GIL_DISABLED
  explicit CriticalSection(PyObject* object) { PyCriticalSection_Begin(&section_, object); }
  ~CriticalSection() { PyCriticalSection_End(&section_); }
  CriticalSection(const CriticalSection&) = delete;
  CriticalSection& operator=(const CriticalSection&) = delete;

 private:
  PyCriticalSection section_;
#else
  explicit CriticalSection(PyObject* /*object*/) {}
#endif
};

}  // namespace fastopt
