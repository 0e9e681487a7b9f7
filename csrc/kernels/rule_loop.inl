// The loops of the rules, which know no rule. Each isa/*.cpp includes them once, in a namespace and
// a target region of its own; whatever they call is inlined into them.

template <class T>
FASTOPT_INLINE void store(T x, T& to) {
  to = x;
}

template <class T>
FASTOPT_INLINE void store(T, const T&) {}  // what is only read

// Loads everything before it stores anything. A load behind a store waits for it where the last 12
// bits of their addresses are equal (4K aliasing), as they are of large arrays.
template <class Rule, class T, class... State>
FASTOPT_INLINE void update_element(const Rule& rule, T& param, T grad, State&... state) {
  const auto with = [&](T p, std::remove_const_t<State>... s) {
    rule(p, grad, s...);
    ((s = normal_or_zero(s)), ...);
    param = p;
    (store(s, state), ...);
  };
  with(param, state...);
}

template <class Rule, class T, class... State>
FASTOPT_NOINLINE void update_elements(const Rule& given, std::int64_t n, T* FASTOPT_RESTRICT param,
                                      const T* FASTOPT_RESTRICT grad,
                                      State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;  // or the compiler would fear that a store changes it
  for (std::int64_t i = 0; i < n; ++i) update_element(rule, param[i], grad[i], state[i]...);
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

template <class Rule, class Sum, class T, class... State>
FASTOPT_INLINE void add_element(const Rule& rule, Sum (&of_lanes)[Rule::sums][lanes], int lane,
                                T param, T grad, State... state) {
  Sum of_element[Rule::sums];
  rule.measure(param, grad, state..., of_element);
  for (int k = 0; k < Rule::sums; ++k) of_lanes[k][lane] += of_element[k];
}

// Sums over the elements of a block that take part, or over all of it, in the order of reduce.inl;
// the states stay as they are.
template <class Rule, class T, class... State>
FASTOPT_NOINLINE void measure_elements(const Rule& given, std::int64_t n,
                                       const std::uint8_t* FASTOPT_RESTRICT takes_part,
                                       double* FASTOPT_RESTRICT sums,
                                       const T* FASTOPT_RESTRICT param,
                                       const T* FASTOPT_RESTRICT grad,
                                       const State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;
  using Sum = std::conditional_t<only_counts<Rule>, T, double>;
  Sum of_lanes[Rule::sums][lanes] = {}, rest[Rule::sums][lanes] = {};
  std::int64_t i = 0;
  for (; !takes_part && i + lanes <= n; i += lanes) {
    FASTOPT_UNROLL(1)  // before there are vectors, or a short loop stays scalar
    for (int lane = 0; lane < lanes; ++lane)
      add_element(rule, of_lanes, lane, param[i + lane], grad[i + lane], state[i + lane]...);
  }
  for (; i < n; ++i)
    if (!takes_part || takes_part[i] != 0)
      add_element(rule, rest, static_cast<int>(i % lanes), param[i], grad[i], state[i]...);
  for (int k = 0; k < Rule::sums; ++k) sums[k] = folded(of_lanes[k], rest[k]);
}

template <class Rule, class T, class... State>
FASTOPT_NOINLINE void direct_elements(const Rule& given, std::int64_t n,
                                      const T* FASTOPT_RESTRICT grad,
                                      State* FASTOPT_RESTRICT... state) {
  const Rule rule = given;
  for (std::int64_t i = 0; i < n; ++i) rule.direct(grad[i], state[i]...);
}

template <class Rule, class T>
FASTOPT_NOINLINE void update_each_row(const Rule& given, std::int64_t rows, std::int64_t size,
                                      T* FASTOPT_RESTRICT param, const T* FASTOPT_RESTRICT grad,
                                      const T* FASTOPT_RESTRICT of_rows) {
  const Rule rule = given;
  for (; rows > 0; --rows, param += size, grad += size) {
    const T of_row = *of_rows++;
    for (std::int64_t i = 0; i < size; ++i) update_element(rule, param[i], grad[i], of_row);
  }
}

template <class Rule, class T>
FASTOPT_NOINLINE void prepare_rows(const Rule& given, std::int64_t n,
                                   const T* FASTOPT_RESTRICT rows, T* FASTOPT_RESTRICT to) {
  const Rule rule = given;
  for (std::int64_t i = 0; i < n; ++i) to[i] = rule.of_row(rows[i]);
}

template <template <class> class Rule, class T, int... State>
struct RuleKernels {
  template <int I>
  using Element =
      std::conditional_t<I == filled_of<Rule<T>> || I == only_read_of<Rule<T>>, const T, T>;

  static T* at(void* const* states, int state) { return static_cast<T*>(states[state]); }

  static void update(const void* rule, std::int64_t n, void* param, const void* grad,
                     [[maybe_unused]] void* const* states) {
    update_elements(*static_cast<const Rule<T>*>(rule), n, static_cast<T*>(param),
                    static_cast<const T*>(grad), static_cast<Element<State>*>(states[State])...);
  }

  static void shrink(const void* rule, std::int64_t n, double threshold, void* param,
                     void* const* states) {
    shrink_elements(*static_cast<const Rule<T>*>(rule), n, static_cast<T>(threshold),
                    static_cast<T*>(param), at(states, State)...);
  }

  static void measure(const void* rule, std::int64_t n, const void* param, const void* grad,
                      void* const* states, const std::uint8_t* takes_part, double* sums) {
    measure_elements(*static_cast<const Rule<T>*>(rule), n, takes_part, sums,
                     static_cast<const T*>(param), static_cast<const T*>(grad),
                     at(states, State)...);
  }

  static void direct(const void* rule, std::int64_t n, const void* grad, void* const* states) {
    direct_elements(*static_cast<const Rule<T>*>(rule), n, static_cast<const T*>(grad),
                    at(states, State)...);
  }

  static void of_rows(const void* rule, std::int64_t n, const void* rows, void* to) {
    prepare_rows(*static_cast<const Rule<T>*>(rule), n, static_cast<const T*>(rows),
                 static_cast<T*>(to));
  }

  static void update_rows(const void* rule, std::int64_t rows, std::int64_t size, void* param,
                          const void* grad, const void* of_rows) {
    update_each_row(*static_cast<const Rule<T>*>(rule), rows, size, static_cast<T*>(param),
                    static_cast<const T*>(grad), static_cast<const T*>(of_rows));
  }

  static constexpr RuleLoops loops() {
    RuleLoops made{update, nullptr, nullptr, nullptr, nullptr, nullptr};
    if constexpr (has_metric<Rule<T>>) made.shrink = shrink;
    if constexpr (sums_of<Rule<T>> > 0) made.measure = measure;
    if constexpr (directs<Rule<T>>) made.direct = direct;
    if constexpr (has_rows_alone<Rule<T>>) made.of_rows = of_rows;
    if constexpr (can_go_by_rows<Rule<T>>) made.update_rows = update_rows;
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
          unpack_bits,    add,
          philox_keep};
}
