// What the benchmarks measure against.
#include <functional>

#include "../arrays/collection.hpp"
#include "../engine/passes/memory_probe.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

void run_probe(const Arguments& arguments, py::handle threads,
               const std::function<void(const Tensors& list, int threads)>& probe) {
  const std::string function = arguments.function;
  Collection collection;
  collection.collect(arguments);
  if (!collection.tensors.layouts.empty())
    raise_value_error(function + ": arrays must be contiguous");
  const int count = thread_count(arguments.function, "threads", threads.ptr());
  const WithoutGil released;
  probe(collection.tensors, count);
}

void memory_probe(py::object params, py::object grads, py::tuple states, py::object threads) {
  if (states.size() > Streams::max_states) raise_value_error("memory_probe: too many states");
  std::vector<ArrayArgument> arguments{{{"params", "", params.ptr()}, Streams::param, true},
                                       {{"grads", "", grads.ptr()}, Streams::grad, false}};
  int stream = Streams::first_state;
  for (py::handle state : states)
    arguments.push_back({{"states", "", state.ptr()}, stream++, true});
  run_probe({"memory_probe", arguments.data(), static_cast<int>(arguments.size())}, threads,
            probe_memory);
}

void read_probe(py::object params, py::tuple others, py::object threads) {
  if (others.size() > Streams::max_states) raise_value_error("read_probe: too many arrays");
  std::vector<ArrayArgument> arguments{{{"params", "", params.ptr()}, Streams::param, false}};
  int stream = Streams::first_state;
  for (py::handle other : others)
    arguments.push_back({{"others", "", other.ptr()}, stream++, false});
  run_probe({"read_probe", arguments.data(), static_cast<int>(arguments.size())}, threads,
            probe_reading);
}

void copy_probe(py::object to, py::object from, py::object threads) {
  const ArrayArgument arguments[] = {{{"to", "", to.ptr()}, Streams::param, true},
                                     {{"from", "", from.ptr()}, Streams::grad, false}};
  run_probe({"copy_probe", arguments, 2}, threads, probe_copy);
}

}  // namespace

void add_probes(py::module_& module) {
  module.def("memory_probe", memory_probe, py::arg("params"), py::arg("grads"), py::arg("states"),
             py::arg("threads"));
  module.def("read_probe", read_probe, py::arg("params"), py::arg("others"), py::arg("threads"));
  module.def("copy_probe", copy_probe, py::arg("to"), py::arg("from_"), py::arg("threads"));
}

}  // namespace fastopt
