// What numbers must be, and how messages say it.
#pragma once
#include <string>

#include "../../rules/option.hpp"

namespace fastopt {

bool contains(Range range, double x);

// "0 <= NAME <= 1 must hold", and the like.
std::string condition(Range range, const std::string& name);

// A number as Python writes it: with the fewest digits that stand for no other.
std::string as_text(double number);

}  // namespace fastopt
