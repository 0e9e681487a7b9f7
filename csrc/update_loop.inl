// The only loop over elements. It knows no rule. Each isa/*.cpp includes it once, in a namespace
// and a target region of its own; whatever it calls is inlined into it.

// Widened copies go in, the rule works on them, and they are stored.
template <class Rule, class T, class... Stored>
FASTOPT_INLINE void apply_rule(const Rule& rule, T& p, T g, Widened<Stored>... state) {
  rule(p, g, state.value...);
  (state.store(), ...);
}

template <Terms kind, template <class> class Rule, class Stored, class... State>
FASTOPT_NOINLINE void update_range(const StepScalars<Rule, Compute<Stored>>& scalars,
                                   std::int64_t n, Stored* FASTOPT_RESTRICT param,
                                   const Stored* FASTOPT_RESTRICT grad,
                                   const std::uint8_t* FASTOPT_RESTRICT mask,
                                   State* FASTOPT_RESTRICT... state) {
  // Copies, so that the compiler need not fear that a store into an array changes them.
  const auto rule = scalars.rule;
  const auto terms = scalars.terms;
  for (std::int64_t i = 0; i < n; ++i) {
    Widened<Stored> p(param[i]);
    Compute<Stored> g = Storage<Stored>::load(grad[i]);
    if constexpr (kind != Terms::none) {
      g = terms.scaled(g);
      if constexpr (kind == Terms::masked) g = terms.masked(g, mask[i] != 0);
      g = terms.regularized(g, p.value);
      terms.before_rule(p.value);
    }
    apply_rule(rule, p.value, g, Widened<State>(state[i])...);
    if constexpr (kind != Terms::none) terms.after_rule(p.value);
    p.store();
  }
}

// Gradients are zeroed block by block, while the block is still in the first-level cache.
constexpr std::int64_t zeroing_block = 1024;

template <Terms kind, template <class> class Rule, class Stored, int... State>
void update(const void* untyped, const Streams& streams, std::int64_t n,
            std::integer_sequence<int, State...>) {
  const auto& scalars = *static_cast<const StepScalars<Rule, Compute<Stored>>*>(untyped);
  auto* param = static_cast<Stored*>(streams.at[Streams::param]);
  auto* grad = static_cast<Stored*>(streams.at[Streams::grad]);
  auto* mask = static_cast<const std::uint8_t*>(streams.at[Streams::mask]);
  const std::int64_t block = scalars.zero_grads ? zeroing_block : n;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t count = n - begin < block ? n - begin : block;
    update_range<kind, Rule, Stored>(
        scalars, count, param + begin, grad + begin, mask ? mask + begin : mask,
        static_cast<Stored*>(streams.at[Streams::first_state + State]) + begin...);
    if (scalars.zero_grads)
      for (std::int64_t i = 0; i < count; ++i) grad[begin + i] = Stored(0);
  }
}

template <Terms kind, template <class> class Rule, class Stored>
void kernel(const void* scalars, const Streams& streams, std::int64_t n) {
  update<kind, Rule, Stored>(scalars, streams, n,
                             std::make_integer_sequence<int, Rule<Compute<Stored>>::states>{});
}

#define FASTOPT_KERNELS(Rule, Stored)                                        \
  {kernel<Terms::none, Rule, Stored>, kernel<Terms::unmasked, Rule, Stored>, \
   kernel<Terms::masked, Rule, Stored>}

template <template <class> class... Rule>
constexpr KernelTable make_table(const char* name, RuleList<Rule...>) {
  return {name, {{FASTOPT_KERNELS(Rule, float), FASTOPT_KERNELS(Rule, double)}...}};
}

#undef FASTOPT_KERNELS
