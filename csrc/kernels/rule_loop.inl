// The loops of the rules, which know no rule. Each isa/*.cpp includes them once, in a namespace and
// a target region of its own; whatever they call is inlined into them.

template <class Rule, class T, class... State>
FASTOPT_NOINLINE void update_elements(const Rule& given, std::int64_t n, T* FASTOPT_RESTRICT param,
                                      const T* FASTOPT_RESTRICT grad,
                                      State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;  // or the compiler would fear that a store changes it
  for (std::int64_t i = 0; i < n; ++i) {
    rule(param[i], grad[i], state[i]...);
    ((state[i] = normal_or_zero(state[i])), ...);
  }
}

// Proximal L1 in the metric of the rule: what the rule divides the gradient by, it divides the
// threshold by.
template <class Rule, class T, class... State>
FASTOPT_NOINLINE void shrink_elements(const Rule& given, std::int64_t n, T threshold,
                                      T* FASTOPT_RESTRICT param,
                                      const State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;
  for (std::int64_t i = 0; i < n; ++i)
    param[i] = shrunk(param[i], threshold / rule.metric(state[i]...));
}

// Element i is added to lane i % 16 of every sum, as in reduce.inl.
template <class Rule, class T, class... State>
FASTOPT_NOINLINE void measure_elements(const Rule& given, std::int64_t n, double* sums,
                                       const T* FASTOPT_RESTRICT param,
                                       const T* FASTOPT_RESTRICT grad,
                                       State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;
  double in_lanes[Rule::sums][lanes] = {};
  for (std::int64_t first = 0; first < n; first += lanes) {
    const int count = n - first < lanes ? static_cast<int>(n - first) : lanes;
    for (int lane = 0; lane < count; ++lane) {
      const std::int64_t i = first + lane;
      T values[Rule::sums];
      rule.measure(param[i], grad[i], state[i]..., values);
      for (int k = 0; k < Rule::sums; ++k) in_lanes[k][lane] += static_cast<double>(values[k]);
    }
  }
  for (int k = 0; k < Rule::sums; ++k) {
    for (int half = lanes / 2; half > 0; half /= 2)
      for (int lane = 0; lane < half; ++lane) in_lanes[k][lane] += in_lanes[k][lane + half];
    sums[k] = in_lanes[k][0];
  }
}

template <template <class> class Rule, class T, int... State>
struct RuleKernels {
  static T* at(void* const* states, int state) { return static_cast<T*>(states[state]); }

  static void update(const void* rule, std::int64_t n, void* param, const void* grad,
                     [[maybe_unused]] void* const* states) {
    update_elements(*static_cast<const Rule<T>*>(rule), n, static_cast<T*>(param),
                    static_cast<const T*>(grad), at(states, State)...);
  }

  static void shrink(const void* rule, std::int64_t n, double threshold, void* param,
                     void* const* states) {
    shrink_elements(*static_cast<const Rule<T>*>(rule), n, static_cast<T>(threshold),
                    static_cast<T*>(param), at(states, State)...);
  }

  static void measure(const void* rule, std::int64_t n, const void* param, const void* grad,
                      void* const* states, double* sums) {
    measure_elements(*static_cast<const Rule<T>*>(rule), n, sums, static_cast<const T*>(param),
                     static_cast<const T*>(grad), at(states, State)...);
  }

  static constexpr RuleLoops loops() {
    RuleLoops made{update, nullptr, nullptr};
    if constexpr (has_metric<Rule<T>>) made.shrink = shrink;
    if constexpr (sums_of<Rule<T>> > 0) made.measure = measure;
    return made;
  }
};

template <template <class> class Rule, class T, int... State>
constexpr RuleLoops rule_loops(std::integer_sequence<int, State...>) {
  return RuleKernels<Rule, T, State...>::loops();
}

template <template <class> class Rule, class T>
constexpr RuleLoops rule_loops() {
  return rule_loops<Rule, T>(std::make_integer_sequence<int, Rule<T>::states>{});
}

template <template <class> class... Rule>
constexpr KernelTable make_table(const char* name, RuleList<Rule...>) {
  return {name,           {{rule_loops<Rule, float>(), rule_loops<Rule, double>()}...},
          loops<float>(), loops<double>(),
          unpack_bits,    philox_keep};
}
