#include "server/access/known_tokens.h"

#include <string>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace finetune {
namespace {

// For all shards together: some 8,000 JWTs.
constexpr size_t kMaxTokenBytes = 8 << 20;

uint64_t HashOf(std::string_view token) {
  return absl::HashOf(absl::string_view(token.data(), token.size()));
}

}  // namespace

std::optional<Admission> KnownTokens::Find(std::string_view token, absl::Time now) {
  const uint64_t hash = HashOf(token);
  Shard& shard = ShardOf(hash);
  MutexLock lock(shard.mu);
  const auto found = shard.entries.find(hash);
  if (found == shard.entries.end()) return std::nullopt;
  const KnownToken& entry = found->second;
  // A token that gets here matches all 64 bits of a hash whose seed is secret. A guess does not get
  // here, so it learns nothing from the time that this comparison takes.
  if (entry.token.Reveal() != token) return std::nullopt;
  if (now < entry.not_before || now >= entry.admission.good_until) return std::nullopt;
  return entry.admission;
}

void KnownTokens::Add(std::string_view token, const Admission& admission, absl::Time not_before,
                      absl::Time now) {
  const uint64_t hash = HashOf(token);
  const size_t bytes = sizeof(KnownToken) + token.size();
  Shard& shard = ShardOf(hash);
  MutexLock lock(shard.mu);
  shard.EraseEnded(now);
  if (shard.bytes + bytes > kMaxTokenBytes / kShards) {
    shard.entries.clear();
    shard.bytes = 0;
  }
  const bool added =
      shard.entries.try_emplace(hash, KnownToken{Secret(std::string(token)), admission, not_before})
          .second;
  if (added) shard.bytes += bytes;
}

void KnownTokens::Shard::EraseEnded(absl::Time now) {
  for (auto one = entries.begin(); one != entries.end();) {
    const auto ended = one++;
    if (now < ended->second.admission.good_until) continue;
    bytes -= sizeof(KnownToken) + ended->second.token.Reveal().size();
    entries.erase(ended);
  }
}

}  // namespace finetune
