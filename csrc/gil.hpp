// Giving the GIL away while threads work, and taking it back.
#pragma once
#include <Python.h>

#include <chrono>
#include <thread>

namespace fastopt {

inline PyThreadState* give_gil_away() { return PyEval_SaveThread(); }

inline void take_gil_back(PyThreadState* given) {
  try {
    PyEval_RestoreThread(given);
  } catch (...) {
    // No exception: the interpreter has ended meanwhile, and ends this thread by unwinding its
    // stack. Objects of Python's live there that nobody may touch any more. So wait for the end of
    // the process, as Python itself does from 3.14 on.
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

}  // namespace fastopt
