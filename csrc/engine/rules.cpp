#include "rules.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>

#include "../rules/list.hpp"
#include "tensors/streams.hpp"

namespace fastopt {
namespace {

template <class Options>
Options as_options(const double* values) {
  static_assert(std::is_trivially_copyable_v<Options> &&
                    sizeof(Options) == Options::options.size() * sizeof(double),
                "options are doubles, and all of them are named");
  Options options;
  std::memcpy(&options, values, sizeof options);
  return options;
}

template <class Options, class = void>
constexpr View<StateScalar> scalars_of{nullptr, 0};
template <class Options>
constexpr View<StateScalar> scalars_of<Options, std::void_t<decltype(Options::scalars)>>{
    Options::scalars.data(), static_cast<int>(Options::scalars.size())};

template <class Options, class = void>
constexpr View<const char*> factors_of{nullptr, 0};
template <class Options>
constexpr View<const char*> factors_of<Options, std::void_t<decltype(Options::factors)>>{
    Options::factors.data(), static_cast<int>(Options::factors.size())};

template <class Options, class = void>
constexpr bool is_for_matrices = false;
template <class Options>
constexpr bool is_for_matrices<Options, std::void_t<decltype(Options::matrices)>> =
    Options::matrices;

template <class Options, class Arithmetic>
double fold(const double* options, double t, [[maybe_unused]] double* scalars, void* folded) {
  static_assert(sizeof(Arithmetic) <= RuleVariant::room);
  static_assert(std::is_trivially_copyable_v<Arithmetic>);
  static_assert(scalars_of<Options>.count <= Rule::max_scalars);
  const Arithmetic* rule;
  if constexpr (scalars_of<Options>.count > 0)
    rule = new (folded) Arithmetic(as_options<Options>(options), t, scalars);
  else
    rule = new (folded) Arithmetic(as_options<Options>(options), t);
  if constexpr (has_metric<Arithmetic>)
    return rule->metric_lr;
  else
    return options[0];
}

// What a rule consists of in double is doubles alone.
template <class Options, class Arithmetic>
bool fits(const double* options, double t, const double* given, double limit) {
  constexpr std::size_t count = sizeof(Arithmetic) / sizeof(double);
  static_assert(sizeof(Arithmetic) == count * sizeof(double));
  alignas(16) unsigned char folded[RuleVariant::room];
  double scalars[Rule::max_scalars], numbers[count];
  std::copy_n(given, scalars_of<Options>.count, scalars);
  fold<Options, Arithmetic>(options, t, scalars, folded);
  std::memcpy(numbers, folded, sizeof numbers);
  return std::all_of(numbers, numbers + count,
                     [limit](double number) { return std::fabs(number) <= limit; });
}

template <class Options, class Arithmetic>
void adapt(const double* sums, [[maybe_unused]] const double* options,
           [[maybe_unused]] double* scalars, void* folded) {
  auto* rule = static_cast<Arithmetic*>(folded);
  if constexpr (std::is_invocable_v<decltype(&Arithmetic::adapt), Arithmetic&, const double*>)
    rule->adapt(sums);
  else
    rule->adapt(sums, as_options<Options>(options), scalars);
}

template <class Arithmetic>
const FactoredMoment& moment(const void* folded) {
  return static_cast<const Arithmetic*>(folded)->moment;
}

template <class Options, template <class> class Arithmetic>
constexpr RuleVariant variant() {
  static_assert(Arithmetic<float>::states <= Streams::max_states);
  static_assert(factors_of<Options>.count <= Streams::max_factors);
  RuleVariant made{rule_id<Arithmetic>,
                   {fold<Options, Arithmetic<float>>, fold<Options, Arithmetic<double>>},
                   fits<Options, Arithmetic<double>>,
                   sums_of<Arithmetic<float>>,
                   {},
                   sums_before_decay<Arithmetic<float>>,
                   only_read_of<Arithmetic<float>>,
                   filled_of<Arithmetic<float>>,
                   factors_of<Options>.count > 1,
                   can_go_by_rows<Arithmetic<float>>,
                   {}};
  if constexpr (factors_of<Options>.count > 0) {
    made.moment[int(Dtype::float32)] = moment<Arithmetic<float>>;
    made.moment[int(Dtype::float64)] = moment<Arithmetic<double>>;
  }
  static_assert(!directs<Arithmetic<float>> ||
                    (sums_of<Arithmetic<float>> == 0 && scalars_of<Options>.count == 0),
                "directions are made before sums and numbers of tensors are folded");
  if constexpr (sums_of<Arithmetic<float>> > 0) {
    static_assert(sums_of<Arithmetic<float>> < RuleVariant::max_sums);
    made.adapt[int(Dtype::float32)] = adapt<Options, Arithmetic<float>>;
    made.adapt[int(Dtype::float64)] = adapt<Options, Arithmetic<double>>;
  }
  return made;
}

template <class Options>
constexpr int optional_arrays() {
  int count = 0;
  for (const StateArray& array : Options::arrays) count += array.optional;
  return count;
}

template <class Options>
constexpr int position_of(std::string_view name) {
  for (std::size_t i = 0; i < Options::options.size(); ++i)
    if (Options::options[i].name == name) return static_cast<int>(i);
  return -1;
}

template <class Options, template <class> class... Arithmetic>
constexpr RuleVariant variants_of[] = {variant<Options, Arithmetic>()...};

template <class Options, template <class> class... Arithmetic>
constexpr Rule rule_of(Family<Options, Arithmetic...>) {
  constexpr int optional = optional_arrays<Options>();
  static_assert(sizeof...(Arithmetic) == 1 << optional, "one for each combination");
  static_assert(position_of<Options>("lr") == 0);
  static_assert(Options::options.size() <= Rule::max_options);
  constexpr int arrays = static_cast<int>(Options::arrays.size());
  return {Options::name,
          {Options::options.data(), static_cast<int>(Options::options.size())},
          factors_of<Options>,
          {Options::arrays.data(), arrays},
          scalars_of<Options>,
          arrays - optional,
          position_of<Options>("scaled_prox"),
          position_of<Options>("flatten"),
          position_of<Options>("per_array"),
          is_for_matrices<Options>,
          variants_of<Options, Arithmetic...>};
}

template <class... Family>
constexpr std::array<Rule, sizeof...(Family)> rules_of(FamilyList<Family...>) {
  return {rule_of(Family{})...};
}

constexpr auto rules = rules_of(Families{});
static_assert(rules.size() <= Rule::most);

}  // namespace

View<Rule> all_rules() { return {rules.data(), static_cast<int>(rules.size())}; }

const Rule* find_rule(std::string_view name) {
  for (const Rule& rule : rules)
    if (rule.name == name) return &rule;
  return nullptr;
}

}  // namespace fastopt
