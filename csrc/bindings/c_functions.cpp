// The functions for C, as Python's modules hand them to others: their table, and one by one in
// capsules whose names are their signatures, as modules of Cython have them in __pyx_capi__.
#include <string>
#include <type_traits>

#include "../capi/functions.hpp"
#include "bindings.hpp"

namespace fastopt {
namespace {

// What Cython calls a type.
template <class T>
std::string text_of_type() {
  if constexpr (std::is_const_v<T>) {
    const std::string plain = text_of_type<std::remove_const_t<T>>();
    return plain + (plain.back() == '*' ? "const" : " const");
  } else if constexpr (std::is_pointer_v<T>) {
    const std::string target = text_of_type<std::remove_pointer_t<T>>();
    return target + (target.back() == '*' ? "*" : " *");
  } else if constexpr (std::is_same_v<T, fastopt_optimizer>) {
    return "fastopt_optimizer";
  } else if constexpr (std::is_same_v<T, void>) {
    return "void";
  } else if constexpr (std::is_same_v<T, char>) {
    return "char";
  } else if constexpr (std::is_same_v<T, int>) {
    return "int";
  } else if constexpr (std::is_same_v<T, double>) {
    return "double";
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return "int64_t";
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return "uint64_t";
  } else {
    static_assert(std::is_same_v<T, std::uint8_t>);
    return "uint8_t";
  }
}

template <class Result, class... Arguments>
py::capsule capsule_of(Result (*function)(Arguments...)) {
  static const std::string signature = [] {
    std::string listed;
    ((listed += (listed.empty() ? "" : ", ") + text_of_type<Arguments>()), ...);
    return text_of_type<Result>() + " (" + (listed.empty() ? "void" : listed) + ")";
  }();
  return py::capsule(reinterpret_cast<void*>(function), signature.c_str());
}

}  // namespace

void add_c_functions(py::module_& module) {
  const fastopt_functions& all = c_functions();
  module.attr("c_functions") = py::capsule(&all, "fastopt._core.c_functions");
  py::dict capsules;
#define FASTOPT_ADD(name) capsules[#name] = capsule_of(all.name);
  FASTOPT_EACH_FUNCTION(FASTOPT_ADD)
#undef FASTOPT_ADD
  module.attr("c_capsules") = capsules;
}

}  // namespace fastopt
