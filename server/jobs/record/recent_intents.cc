#include "server/jobs/record/recent_intents.h"

#include <algorithm>

#include "absl/container/btree_map.h"
#include "server/jobs/record/intent_table.h"
#include "server/jobs/record/settle.h"

namespace finetune {

void RecentIntents::Note(uint64_t seq, const record::Intent& intent) {
  intents_.emplace_back(seq, intent);
  if (intents_.size() > kMost) intents_.pop_front();
}

std::vector<record::Intent> RecentIntents::After(uint64_t seq) const {
  absl::btree_map<IntentKey, const record::Intent*> latest;
  for (const auto& [number, intent] : intents_) {
    if (number > seq) latest[IntentTable::KeyOf(intent)] = &intent;
  }
  std::vector<record::Intent> found;
  for (const auto& [key, intent] : latest) found.push_back(*intent);
  return found;
}

void RecentIntents::GoBackTo(uint64_t seq) {
  for (auto& [number, intent] : intents_) number = std::min(number, seq);
}

uint64_t CommonSeq(const Lineage& lineage, const StorePoint& point, uint64_t latest) {
  const std::vector<Era>& eras = lineage.eras();
  for (size_t i = 0; i < eras.size(); ++i) {
    if (eras[i].id != point.era) continue;
    return std::min(point.seq, i + 1 < eras.size() ? eras[i + 1].base_seq : latest);
  }
  return 0;
}

absl::Status BringBack(Draft& draft, const record::Intent& intent, uint64_t read) {
  // A submission that came to nothing may be asked for again in any case.
  if (intent.state() == record::Intent::REFUSED || intent.state() == record::Intent::NOT_SUBMITTED)
    return absl::OkStatus();
  auto found = draft.FindIntent(intent.caller(), intent.request_id());
  if (!found.ok()) return found.status();
  // If the record still knows how the submission went on, that stands. But a submission that was
  // about to be sent by then has been sent since.
  if (found->has_value() && ((*found)->fine_tune_id() != intent.fine_tune_id() ||
                             (*found)->state() != record::Intent::PREPARED))
    return absl::OkStatus();
  record::Intent back = intent;
  back.set_brought_back(true);
  BecomeUnknown(draft, std::move(back), "the database has lost its record", read);
  return absl::OkStatus();
}

}  // namespace finetune
