#pragma once

#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>

#include "tests/jobs/rig.h"
#include "tests/jobs/submission/lasting_budgets.h"

namespace finetune {

// What random histories of budgets are made of, whoever submits and wherever the record is.
class BudgetRig : public Rig {
 protected:
  static constexpr const char* kCallers[] = {"alice", "bob", "carol"};

  // The time of day, in a zone whose days the budgets go by.
  void StandAt(const char* zone_name, const char* time_text) {
    ASSERT_TRUE(absl::LoadTimeZone(zone_name, &zone_));
    absl::Time time;
    std::string error;
    ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, time_text, &time, &error)) << error;
    clock_.StepWall(time - clock_.WallNow());
  }

  // What becomes of submits: a third of them meet something.
  static std::function<Fate()> Fates(uint32_t seed) {
    return [fate = std::minstd_rand(seed * 3)]() mutable {
      constexpr Fate kFates[] = {Fate::kLostAfter, Fate::kLostBefore,  Fate::kServerErrorAfter,
                                 Fate::kRefused,   Fate::kServerError, Fate::kNoConnection};
      const uint32_t roll = fate() % 18;
      return roll < std::size(kFates) ? kFates[roll] : Fate::kFine;
    };
  }

  std::shared_ptr<SpendingRules> NewRules(std::mt19937& random) const {
    auto rules = std::make_shared<SpendingRules>();
    rules->unit = "credits";
    rules->guarded_labels = {"project"};
    rules->prices = {{.base_model = "FLUX", .base_micros = 3 + static_cast<int>(random() % 4)}};
    rules->budgets = LastingBudgets(zone_);
    return rules;
  }
  std::shared_ptr<const Spender> SpenderOf(const std::string& caller) const {
    auto spender = std::make_shared<Spender>();
    spender->team = caller == "carol" ? "sea" : "art";
    spender->labels = {{.key = "project"}};
    spender->rules = rules_;
    return spender;
  }

  static void EndSomeJobs(std::mt19937& random, FakeSegmind& segmind) {
    for (const FakeJob& job : segmind.jobs()) {
      if (random() % 4 != 0 || job.status != "REQUESTED") continue;
      const bool fails = random() % 3 == 0;
      segmind.Change(job.id,
                     [fails](FakeJob& known) { known.status = fails ? "FAILED" : "AVAILABLE"; });
    }
  }
  // On by minutes or days, and back.
  void StepClockAtTimes(std::mt19937& random) {
    if (random() % 4 == 0) clock_.StepWall(absl::Minutes(static_cast<int64_t>(random() % 1200)));
    if (random() % 12 == 0) clock_.StepWall(absl::Hours(24 * static_cast<int64_t>(random() % 12)));
    if (random() % 9 == 0) clock_.StepWall(-absl::Minutes(static_cast<int64_t>(random() % 300)));
  }

  absl::TimeZone zone_;
  std::shared_ptr<const SpendingRules> rules_;
};

}  // namespace finetune
