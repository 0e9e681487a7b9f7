// The one list of rules. A new rule adds its header and its line to `Families`; kernels, and the
// table by which all else knows rules, are made from it.
#pragma once
#include <type_traits>

#include "adagrad/adadelta.hpp"
#include "adagrad/adafactor.hpp"
#include "adagrad/adagrad.hpp"
#include "adagrad/ftrl.hpp"
#include "adagrad/rmsprop.hpp"
#include "adagrad/rowwise_adagrad.hpp"
#include "adam/adabelief.hpp"
#include "adam/adam.hpp"
#include "adam/adamax.hpp"
#include "adam/adan.hpp"
#include "adam/ademamix.hpp"
#include "adam/adopt.hpp"
#include "adam/amsgrad.hpp"
#include "adam/lamb.hpp"
#include "adam/nadam.hpp"
#include "adam/prodigy.hpp"
#include "adam/radam.hpp"
#include "adam/schedulefree_adamw.hpp"
#include "adam/yogi.hpp"
#include "cautious.hpp"
#include "sgd/asgd.hpp"
#include "sgd/lars.hpp"
#include "sgd/lion.hpp"
#include "sgd/momentum.hpp"
#include "sgd/muon.hpp"
#include "sgd/rprop.hpp"
#include "sgd/schedulefree_sgd.hpp"
#include "sgd/sgd.hpp"
#include "sgd/signum.hpp"
#include "sgd/sophia.hpp"
#ifdef FASTOPT_MORE_RULES  // of tests, which use what the rules here do not
#include FASTOPT_MORE_RULES
#else
#define FASTOPT_MORE_FAMILIES
#endif

namespace fastopt {

template <template <class> class... Rule>
struct RuleList {
  static constexpr int size = sizeof...(Rule);
};

// A rule as users know it: its options, and its arithmetic for every combination of the optional
// arrays that a state may hold, counted in binary (the first optional array is the highest digit).
template <class Options, template <class> class... Variant>
struct Family {
  using Variants = RuleList<Variant...>;
};

template <class... Family>
struct FamilyList {};

using Families = FamilyList<
    Family<SgdOptions, Sgd>,            //
    Family<MomentumOptions, Momentum>,  //
    Family<AdamOptions, Adam>,          //
    Family<RmspropOptions, Rmsprop, RmspropMomentum, RmspropCentered, RmspropCenteredMomentum>,
    Family<AdagradOptions, Adagrad>,                         //
    Family<AdadeltaOptions, Adadelta>,                       //
    Family<AdamaxOptions, Adamax>,                           //
    Family<LionOptions, Lion>,                               //
    Family<AmsgradOptions, Amsgrad>,                         //
    Family<RadamOptions, Radam>,                             //
    Family<LambOptions, Lamb>,                               //
    Family<NadamOptions, Nadam>,                             //
    Family<AdemamixOptions, Ademamix>,                       //
    Family<AdoptOptions, Adopt>,                             //
    Family<AdabeliefOptions, Adabelief>,                     //
    Family<AdafactorOptions, Adafactor, AdafactorMomentum>,  //
    Family<SignumOptions, Signum>,                           //
    Family<YogiOptions, Yogi>,                               //
    Family<AdanOptions, Adan>,                               //
    Family<FtrlOptions, Ftrl>,                               //
    Family<MuonOptions, Muon, MuonOther>,                    //
    Family<RpropOptions, Rprop>,                             //
    Family<LarsOptions, Lars>,                               //
    Family<AsgdOptions, Asgd>,                               //
    Family<ScheduleFreeSgdOptions, ScheduleFreeSgd>,         //
    Family<ScheduleFreeAdamwOptions, ScheduleFreeAdamw>,     //
    Family<ProdigyOptions, Prodigy>,                         //
    Family<SophiaOptions, Sophia>,                           //
    Family<RowwiseAdagradOptions, RowwiseAdagrad>,           //
    Family<CautiousAdamOptions, CautiousAdam>,               //
    Family<CautiousLionOptions, CautiousLion>,               //
    Family<CautiousNadamOptions, CautiousNadam> FASTOPT_MORE_FAMILIES>;

template <template <class> class... A, template <class> class... B>
RuleList<A..., B...> operator+(RuleList<A...>, RuleList<B...>);

template <class... Family>
auto all_rules(FamilyList<Family...>) -> decltype((typename Family::Variants{} + ...));

using Rules = decltype(all_rules(Families{}));

template <template <class> class Wanted, template <class> class First,
          template <class> class... Rest>
constexpr int position(RuleList<First, Rest...>) {
  if constexpr (std::is_same_v<Wanted<float>, First<float>>)
    return 0;
  else
    return 1 + position<Wanted>(RuleList<Rest...>{});
}

// Whether the rule divides the gradient by a metric, which the proximal step may use.
template <class Rule, class = void>
constexpr bool has_metric = false;
template <class Rule>
constexpr bool has_metric<Rule, std::void_t<decltype(Rule::metric_lr)>> = true;

// How many sums over an array a rule has between two phases: then `measure` adds an element to
// them, and `adapt` takes them before the rule is applied to that array. See engine/launch.hpp.
template <class Rule, class = void>
constexpr int sums_of = 0;
template <class Rule>
constexpr int sums_of<Rule, std::void_t<decltype(Rule::sums)>> = Rule::sums;

// Whether they only count: then the elements of a block are added up in T, which is as exact.
template <class Rule, class = void>
constexpr bool only_counts = false;
template <class Rule>
constexpr bool only_counts<Rule, std::void_t<decltype(Rule::only_counts)>> = Rule::only_counts;

// Whether these are of the parameter as it is before decay, and not after it.
template <class Rule, class = void>
constexpr bool sums_before_decay = false;
template <class Rule>
constexpr bool sums_before_decay<Rule, std::void_t<decltype(Rule::sums_before_decay)>> =
    Rule::sums_before_decay;

// Whether a rule wants its matrices made orthogonal: then `direct` says of what, before anything is
// changed, and its arithmetic finds what has become of it behind the arrays of its state.
template <class Rule, class = void>
constexpr bool directs = false;
template <class Rule>
constexpr bool directs<Rule, std::void_t<decltype(&Rule::direct)>> = true;

// Whether a rule keeps means of rows and none of columns: then its arithmetic finds, behind the
// arrays of its state, what `of_row` makes of the mean of the row.
template <class Rule, class = void>
constexpr bool has_rows_alone = false;
template <class Rule>
constexpr bool has_rows_alone<Rule, std::void_t<decltype(&Rule::of_row)>> = true;

// Whether it has nothing but these: then a row may be updated as soon as it is added up.
template <class Rule>
constexpr bool can_go_by_rows = has_rows_alone<Rule> && sums_of<Rule> == 0 && Rule::states == 1;

// Whether it keeps any means.
template <class Rule, class = void>
constexpr bool has_moment = false;
template <class Rule>
constexpr bool has_moment<Rule, std::void_t<decltype(Rule::moment)>> = true;

// Which of the arrays that its arithmetic goes through is none of the state, or -1.
template <class Rule>
constexpr int filled_of = has_moment<Rule> || directs<Rule> ? Rule::states - 1 : -1;

// Which of the arrays of its state a rule only reads, or -1: that stays as it is.
template <class Rule, class = void>
constexpr int only_read_of = -1;
template <class Rule>
constexpr int only_read_of<Rule, std::void_t<decltype(Rule::only_read)>> = Rule::only_read;

// Where a rule stands in the list, and so in every kernel table.
template <template <class> class Rule>
constexpr int rule_id = position<Rule>(Rules{});

}  // namespace fastopt
