#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/spending/spending_rules.h"
#include "server/store/ledger.h"

namespace finetune {

// Budgets that all policies of a random history have: they must hold throughout.
inline std::vector<Budget> LastingBudgets(const absl::TimeZone& zone) {
  return {{.name = "all", .period = PeriodKind::kDay, .zone = zone, .limit = 6},
          {.name = "art",
           .of = Budget::Of::kTeam,
           .subject = "art",
           .period = PeriodKind::kMonth,
           .zone = zone,
           .money = true,
           .limit = 30,
           .allow_unpriced = true},
          {.name = "bob",
           .of = Budget::Of::kCaller,
           .subject = "bob",
           .period = PeriodKind::kWeek,
           .zone = zone,
           .limit = 5},
          {.name = "project",
           .of = Budget::Of::kLabel,
           .subject = "project",
           .period = PeriodKind::kDay,
           .zone = zone,
           .limit = 3},
          {.name = "at-once", .limit = 4}};
}

// Nullopt if the job does not count towards it; else whose share of it that is.
inline std::optional<std::string> ShareIn(const Budget& budget, const SpendingKey& job) {
  switch (budget.of) {
    case Budget::Of::kAccount:
      return "";
    case Budget::Of::kCaller:
      return job.caller == budget.subject ? std::optional<std::string>("") : std::nullopt;
    case Budget::Of::kTeam:
      return job.team == budget.subject ? std::optional<std::string>("") : std::nullopt;
    case Budget::Of::kLabel:
      break;
  }
  const auto labels = DecodeLabels(job.labels);
  const auto label = labels.find(budget.subject);
  return label == labels.end() ? std::nullopt : std::optional(label->second);
}

// That none of them is exceeded by these jobs.
inline void ExpectWithinBudgets(const SpendingRows& jobs, const absl::TimeZone& zone) {
  for (const Budget& budget : LastingBudgets(zone)) {
    std::map<std::pair<std::string, absl::Time>, int64_t> used;
    for (const auto& [key, count] : jobs) {
      const auto share = ShareIn(budget, key);
      if (!share || (!budget.period && key.outcome != JobOutcome::kOpen)) continue;
      const absl::Time start = budget.period
                                   ? PeriodAt(*budget.period, zone, StartOf(key.quarter)).start
                                   : absl::InfinitePast();
      used[{*share, start}] += budget.money ? count.micros : count.jobs;
    }
    for (const auto& [key, amount] : used)
      EXPECT_LE(amount, budget.limit) << budget.name << " " << key.first << " " << key.second;
  }
}

}  // namespace finetune
