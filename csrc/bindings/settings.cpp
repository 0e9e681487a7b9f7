// Instruction sets, threads, and what the core was built with.
#include <cstdlib>

#include "../engine/parallel.hpp"
#include "../kernels/table.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_tables()) names.push_back(table->name);
  return names;
}

void select_first_isa() {
  const char* forced = std::getenv("FASTOPT_ISA");
  try {
    select_table(forced && *forced ? forced : available_tables().front()->name);
  } catch (const std::invalid_argument& error) {
    throw py::import_error(std::string("FASTOPT_ISA: ") + error.what());
  }
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#elif defined(_MSC_VER)
  return "msvc " + std::to_string(_MSC_VER);
#else
  return "unknown";
#endif
}

}  // namespace

int threads_or_default(const char* function, py::handle threads) {
  return threads.is_none() ? get_num_threads() : thread_count(function, "threads", threads.ptr());
}

void add_settings(py::module_& module) {
  select_first_isa();
  module.def("isa", [] { return std::string(current_table().name); });
  module.def("available_isas", available_isas);
  module.def("select_isa", select_table, py::arg("name"));
  module.attr("max_threads") = max_threads;
  module.def("get_num_threads", get_num_threads);
  module.def(
      "set_num_threads",
      [](py::object n) {
        const int count = thread_count("set_num_threads", "n", n.ptr());
        const WithoutGil released;  // it may wait for a step to end
        set_num_threads(count);
      },
      py::arg("n"));
  module.def("compiler", compiler);
}

}  // namespace fastopt
