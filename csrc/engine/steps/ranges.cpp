#include "ranges.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace fastopt {

bool contains(Range range, double x) {
  switch (range) {
    case Range::finite:
      return std::isfinite(x);
    case Range::non_negative:
    case Range::denominator:
      return std::isfinite(x) && x >= 0;
    case Range::positive:
      return std::isfinite(x) && x > 0;
    case Range::non_positive:
      return std::isfinite(x) && x <= 0;
    case Range::zero_to_one:
      return x >= 0 && x <= 1;
    case Range::zero_to_below_1:
      return x >= 0 && x < 1;
    case Range::above_0_to_1:
      return x > 0 && x <= 1;
    case Range::flag:
      return x == 0 || x == 1;
    case Range::count:
      return x >= 1 && x <= 99 && x == std::floor(x);
  }
  return false;
}

std::string condition(Range range, const std::string& name) {
  switch (range) {
    case Range::finite:
      return name + " must be finite";
    case Range::non_negative:
    case Range::denominator:
      return name + " must be finite and >= 0";
    case Range::positive:
      return name + " must be finite and > 0";
    case Range::non_positive:
      return name + " must be finite and <= 0";
    case Range::zero_to_one:
      return "0 <= " + name + " <= 1 must hold";
    case Range::zero_to_below_1:
      return "0 <= " + name + " < 1 must hold";
    case Range::above_0_to_1:
      return "0 < " + name + " <= 1 must hold";
    case Range::flag:
      return name + " must be 0 or 1";
    case Range::count:
      return name + " must be an integer from 1 to 99";
  }
  return name;
}

std::string as_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char text[32];
  int precision = 0;
  do {
    std::snprintf(text, sizeof text, "%.*e", precision, number);
  } while (std::strtod(text, nullptr) != number && ++precision < 17);
  // Its digits alone: the sign of the fraction is that of the locale.
  std::string digits, whole(text);
  const std::size_t e = whole.find('e');
  for (const char c : whole.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  const int exponent = std::atoi(text + e + 1), count = static_cast<int>(digits.size());
  const std::string sign = std::signbit(number) ? "-" : "";
  if (exponent < -4 || exponent >= 16)
    return sign + digits[0] + (count > 1 ? "." + digits.substr(1) : "") + whole.substr(e);
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  if (count <= exponent + 1) return sign + digits + std::string(exponent + 1 - count, '0') + ".0";
  return sign + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

}  // namespace fastopt
