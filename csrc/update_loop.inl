// The only loop over the elements of an update. It knows no rule. Each isa/*.cpp includes it once,
// in a namespace and a target region of its own; whatever it calls is inlined into it.

// Widened copies go in, the rule works on them, and they are stored.
template <class Rule, class T, class... Stored>
FASTOPT_INLINE void apply_rule(const Rule& rule, T& p, T g, Widened<Stored>... state) {
  rule(p, g, state.value...);
  (state.store(), ...);
}

template <Terms kind, template <class> class Rule, class Stored, class... State>
FASTOPT_NOINLINE void update_range(const StepScalars<Rule, Compute<Stored>>& scalars,
                                   Compute<Stored> grad_scale, std::int64_t n,
                                   Stored* FASTOPT_RESTRICT param,
                                   const Stored* FASTOPT_RESTRICT grad,
                                   const std::uint8_t* FASTOPT_RESTRICT mask,
                                   Stored* FASTOPT_RESTRICT ema, State* FASTOPT_RESTRICT... state) {
  // Copies, so that the compiler need not fear that a store into an array changes them.
  const auto rule = scalars.rule;
  const auto terms = scalars.terms;
  for (std::int64_t i = 0; i < n; ++i) {
    Widened<Stored> p(param[i]);
    Compute<Stored> g = Storage<Stored>::load(grad[i]);
    if constexpr (kind != Terms::none) g = g * grad_scale;
    if constexpr (kind == Terms::all) g = terms.masked(terms.clipped(g), mask[i] != 0);
    if constexpr (kind != Terms::none) {
      g = terms.with_l2(g, p.value);
      if constexpr (kind == Terms::all) g = terms.with_l1(g, p.value);
      p.value = terms.decayed_before(p.value);
    }
    apply_rule(rule, p.value, g, Widened<State>(state[i])...);
    if constexpr (kind != Terms::none) p.value = terms.decayed_after(p.value);
    if constexpr (kind == Terms::all) p.value = terms.thresholded(p.value);
    p.store();
    if constexpr (kind == Terms::linear_averaged || kind == Terms::all) {
      Widened<Stored> average(ema[i]);
      average.value = terms.average(average.value, p.value);
      average.store();
    }
  }
}

// Some steps go block by block: gradients are zeroed while a block is still in the first-level
// cache, and the loop with all terms takes a mask or an average that the step has not from a block
// there.
constexpr std::int64_t block_size = 1024;

struct KeepAll {
  std::uint8_t at[block_size];
  constexpr KeepAll() : at() {
    for (std::uint8_t& keep : at) keep = 1;
  }
};
constexpr KeepAll keep_all;

template <Terms kind, template <class> class Rule, class Stored, int... State>
void update(const void* untyped, double grad_scale, const Streams& streams, std::int64_t n,
            std::integer_sequence<int, State...>) {
  const auto& scalars = *static_cast<const StepScalars<Rule, Compute<Stored>>*>(untyped);
  const auto scale = static_cast<Compute<Stored>>(grad_scale);
  auto* param = static_cast<Stored*>(streams.at[Streams::param]);
  auto* grad = static_cast<Stored*>(streams.at[Streams::grad]);
  auto* mask = static_cast<const std::uint8_t*>(streams.at[Streams::mask]);
  auto* ema = static_cast<Stored*>(streams.at[Streams::ema]);
  Stored no_average[kind == Terms::all ? block_size : 1];
  if (kind == Terms::all && !ema)
    for (std::int64_t i = 0; i < block_size && i < n; ++i) no_average[i] = Stored();

  const bool by_block = scalars.zero_grads || kind == Terms::all;
  const std::int64_t block = by_block && n > block_size ? block_size : n;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t count = n - begin < block ? n - begin : block;
    update_range<kind, Rule, Stored>(
        scalars, scale, count, param + begin, grad + begin, mask ? mask + begin : keep_all.at,
        ema ? ema + begin : no_average,
        static_cast<Stored*>(streams.at[Streams::first_state + State]) + begin...);
    if (scalars.zero_grads)
      for (std::int64_t i = 0; i < count; ++i) Storage<Stored>::store(grad[begin + i], 0);
  }
}

template <Terms kind, template <class> class Rule, class Stored>
void kernel(const void* scalars, double grad_scale, const Streams& streams, std::int64_t n) {
  update<kind, Rule, Stored>(scalars, grad_scale, streams, n,
                             std::make_integer_sequence<int, Rule<Compute<Stored>>::states>{});
}

#define FASTOPT_KERNELS(Rule, Stored)                                      \
  {kernel<Terms::none, Rule, Stored>, kernel<Terms::linear, Rule, Stored>, \
   kernel<Terms::linear_averaged, Rule, Stored>, kernel<Terms::all, Rule, Stored>}

template <template <class> class... Rule>
constexpr KernelTable make_table(const char* name, RuleList<Rule...>) {
  return {name,
          {{FASTOPT_KERNELS(Rule, float), FASTOPT_KERNELS(Rule, double)}...},
          {sum_of_squares<float>, sum_of_squares<double>}};
}

#undef FASTOPT_KERNELS
