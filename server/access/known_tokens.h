#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/access/caller.h"
#include "server/base/mutex.h"
#include "server/base/secret.h"

namespace finetune {

// Remembers tokens that were found valid, so that a token is hashed, or its signature verified,
// only at its first call. The answers hold under one policy: each policy owns its KnownTokens.
// Refused tokens are not kept. Holds the tokens themselves, within bounded memory, and wipes those
// that it drops. Thread-safe.
class KnownTokens {
 public:
  // Nullopt if the token is not known, or not good at `now`.
  std::optional<Admission> Find(std::string_view token, absl::Time now);

  // `token` is good from `not_before` until the admission's end.
  void Add(std::string_view token, const Admission& admission, absl::Time not_before,
           absl::Time now);

 private:
  struct KnownToken {
    Secret token;
    Admission admission;
    absl::Time not_before;
  };
  // Each has a lock and cache lines of its own.
  struct alignas(64) Shard {
    Mutex mu;
    // By the token's hash; of two tokens with the same hash, the first stays.
    absl::flat_hash_map<uint64_t, KnownToken> entries ABSL_GUARDED_BY(mu);
    size_t bytes ABSL_GUARDED_BY(mu) = 0;

    void EraseEnded(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  };
  static constexpr size_t kShards = 16;

  Shard& ShardOf(uint64_t hash) { return shards_[hash % kShards]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace finetune
