#pragma once

#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "server/store/store.h"

namespace finetune {

// The intents that are not settled (PREPARED, UNKNOWN), in memory. Recorder's thread only.
class IntentTable {
 public:
  static IntentKey KeyOf(const record::Intent& intent) {
    return {intent.caller(), intent.request_id()};
  }
  static bool IsUnsettled(const record::Intent& intent) {
    return intent.state() == record::Intent::PREPARED || intent.state() == record::Intent::UNKNOWN;
  }

  // Keeps the intent, or forgets it if it is settled.
  void Put(const record::Intent& intent);
  void Clear();
  const record::Intent* Find(const IntentKey& key) const;
  const record::Intent* FindByMarker(std::string_view marker) const;
  const absl::btree_map<IntentKey, record::Intent>& all() const { return intents_; }

 private:
  void Erase(const IntentKey& key);

  absl::btree_map<IntentKey, record::Intent> intents_;
  absl::flat_hash_map<std::string, IntentKey> by_marker_;
};

}  // namespace finetune
