#include "server/jobs/record/intent_table.h"

namespace finetune {

void IntentTable::Put(const record::Intent& intent) {
  const IntentKey key = KeyOf(intent);
  Erase(key);
  if (!IsUnsettled(intent)) return;
  intents_[key] = intent;
  if (!intent.marker().empty()) by_marker_[intent.marker()] = key;
}

void IntentTable::Erase(const IntentKey& key) {
  auto it = intents_.find(key);
  if (it == intents_.end()) return;
  auto marker = by_marker_.find(it->second.marker());
  if (marker != by_marker_.end() && marker->second == key) by_marker_.erase(marker);
  intents_.erase(it);
}

void IntentTable::Clear() {
  intents_.clear();
  by_marker_.clear();
}

const record::Intent* IntentTable::Find(const IntentKey& key) const {
  auto it = intents_.find(key);
  return it == intents_.end() ? nullptr : &it->second;
}

const record::Intent* IntentTable::FindByMarker(std::string_view marker) const {
  auto it = by_marker_.find(std::string(marker));
  return it == by_marker_.end() ? nullptr : Find(it->second);
}

}  // namespace finetune
