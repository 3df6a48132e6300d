#include "server/segmind/list_reader.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/base/url_signature.h"
#include "server/json/list_scanner.h"
#include "server/segmind/json_job.h"

namespace finetune {
namespace {

// 128 bits: what is equal by it is taken for equal. Not against an attacker, who would be Segmind.
struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const Digest& other) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Digest& digest) {
    return H::combine(std::move(h), digest.low);
  }
};

Digest DigestOf(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

// Of all bodies, and how long they are.
std::pair<Digest, size_t> DigestOf(const std::vector<std::string_view>& bodies) {
  if (bodies.size() == 1) return {DigestOf(bodies[0]), bodies[0].size()};
  size_t size = 0;
  std::vector<Digest> digests;
  for (const std::string_view body : bodies) {
    digests.push_back(DigestOf(body));
    size += body.size();
  }
  const std::string_view all(reinterpret_cast<const char*>(digests.data()),
                             digests.size() * sizeof(Digest));
  return {DigestOf(all), size};
}

// Of an item: unchanged if only its URLs were signed again.
Digest DigestOfItem(std::string_view text) {
  std::string cleaned;
  return JsonWithoutSignatures(text, cleaned) ? DigestOf(cleaned) : DigestOf(text);
}

constexpr uint32_t kNone = 0xffffffff;

struct Item {
  std::string_view text;
  Digest digest;
  uint32_t slot;  // Of the job that these bytes are known to be, or kNone.
};

// A job of the last list.
struct Slot {
  std::string id;
  Digest digest;
  uint32_t next = kNone;  // The slot of the item behind it in the last list.
};

}  // namespace

struct ListReader::Memory {
  // A job that is new in this list or differs from the last one.
  struct Winner {
    uint32_t item;
    UpstreamJob job;
  };
  struct Comparison {
    std::vector<Winner> winners;
    std::vector<uint32_t> gone;
    size_t skipped = 0;
  };

  absl::Status Split(std::string_view array, std::vector<Item>& items);
  uint32_t Recall(const Digest& digest, uint32_t& guess) const;
  absl::StatusOr<Comparison> Compare(const std::vector<Item>& items, const Scrubber& scrubber);
  void Learn(std::vector<Item>& items, const Comparison& comparison);
  void Drop(uint32_t slot);

  JsonParser parser;
  // The last list that could be read.
  Digest body_digest;
  size_t body_size = 0;  // 0: none, or forgotten.
  size_t total = 0;
  size_t skipped = 0;
  std::string more;
  uint32_t first = kNone;
  uint32_t expected = kNone;  // While a list is split: the slot of the next item, probably.
  std::vector<Slot> slots;    // Free ones have no id.
  std::vector<uint32_t> free_slots;
  absl::flat_hash_map<Digest, uint32_t> by_digest;
  absl::flat_hash_map<std::string, uint32_t> by_id;
  // What it said to be gone; after Forget that is owed to the next delta.
  std::vector<std::string> last_gone;
  absl::flat_hash_set<std::string> owed_gone;
};

ListReader::ListReader() : memory_(std::make_unique<Memory>()) {}
ListReader::~ListReader() = default;

absl::StatusOr<ListDelta> ListReader::Read(std::string_view body) {
  UpstreamList list;
  return ReadBodies({body}, std::nullopt, list);
}

absl::StatusOr<ListDelta> ListReader::Read(const UpstreamList& pages) {
  return ReadBodies({pages.bodies.begin(), pages.bodies.end()}, pages.more, pages);
}

absl::StatusOr<ListDelta> ListReader::ReadBodies(const std::vector<std::string_view>& bodies,
                                                 const std::optional<std::string>& more,
                                                 const UpstreamList& limits) {
  Memory& memory = *memory_;
  ListDelta delta;
  const auto [body_digest, body_size] = DigestOf(bodies);
  if (memory.body_size != 0 && memory.body_size == body_size && memory.body_digest == body_digest) {
    memory.last_gone.clear();
    delta.total = memory.total;
    delta.skipped = memory.skipped;
    delta.more = more.value_or(memory.more);
    delta.unchanged = true;
    return delta;
  }
  std::vector<Item> items;
  items.reserve(memory.total + 16);
  delta.more = more.value_or("");
  for (const std::string_view body : bodies) {
    ASSIGN_OR_RETURN(const UpstreamPage page, ReadUpstreamPage(body, memory.parser));
    if (!more) delta.more = page.more;
    RETURN_IF_ERROR(memory.Split(page.array, items));
  }
  if (items.size() > limits.max_jobs) {
    return MalformedList(absl::StrCat("it has ", items.size(), " jobs, and at most ",
                                      limits.max_jobs, " are taken (--max_listed_jobs)"));
  }
  static const auto& nothing = *new Scrubber();
  const Scrubber& scrubber = limits.scrubber == nullptr ? nothing : *limits.scrubber;
  ASSIGN_OR_RETURN(Memory::Comparison comparison, memory.Compare(items, scrubber));

  for (uint32_t slot : comparison.gone) delta.gone.push_back(memory.slots[slot].id);
  memory.Learn(items, comparison);
  for (const std::string& id : std::exchange(memory.owed_gone, {}))
    if (!Has(id)) delta.gone.push_back(id);
  memory.last_gone = delta.gone;
  memory.body_digest = body_digest;
  memory.body_size = body_size;
  memory.more = delta.more;
  memory.total = delta.total = items.size();
  memory.skipped = delta.skipped = comparison.skipped;
  delta.changed.reserve(comparison.winners.size());
  if (limits.unread_times != nullptr) {
    for (const Memory::Winner& winner : comparison.winners)
      limits.unread_times->Increment(winner.job.unread_times);
  }
  for (Memory::Winner& winner : comparison.winners) delta.changed.push_back(std::move(winner.job));
  return delta;
}

void ListReader::Forget() {
  Memory& memory = *memory_;
  memory.body_size = 0;
  memory.first = kNone;
  memory.by_digest.clear();
  for (Slot& slot : memory.slots) slot.digest = Digest();
  memory.owed_gone.insert(memory.last_gone.begin(), memory.last_gone.end());
  memory.last_gone.clear();
}

bool ListReader::Has(std::string_view id) const {
  return memory_->by_id.contains(absl::string_view(id.data(), id.size()));
}

absl::Status ListReader::Memory::Split(std::string_view array, std::vector<Item>& items) {
  if (items.empty()) expected = first;
  const std::optional<size_t> end = ScanArray(array, [&](std::string_view text) {
    const Digest digest = DigestOfItem(text);
    items.push_back({text, digest, Recall(digest, expected)});
  });
  if (!end) return MalformedList("it is cut short or its items are not well separated");
  // An array within an object was delimited before.
  if (!SkipSpace(array.substr(*end)).empty()) return MalformedList("something follows it");
  return absl::OkStatus();
}

// Lists come in the order of the last one, mostly: looking there first saves the table's cache
// misses. `guess` is where the next item is expected.
uint32_t ListReader::Memory::Recall(const Digest& digest, uint32_t& guess) const {
  uint32_t slot = guess;
  // The second try is for an item that went, or changed.
  for (int tries = 0; tries < 2 && slot != kNone; ++tries, slot = slots[slot].next) {
    if (slots[slot].digest == digest) {
      guess = slots[slot].next;
      return slot;
    }
  }
  const auto found = by_digest.find(digest);
  if (found == by_digest.end()) return kNone;
  guess = slots[found->second].next;
  return found->second;
}

absl::StatusOr<ListReader::Memory::Comparison> ListReader::Memory::Compare(
    const std::vector<Item>& items, const Scrubber& scrubber) {
  Comparison comparison;
  // Where each known job stands in this list; of several items about one job the last one counts.
  std::vector<uint32_t> position(slots.size(), kNone);
  std::vector<Winner> parsed;
  absl::flat_hash_map<std::string, size_t> last_parsed;
  for (uint32_t i = 0; i < items.size(); ++i) {
    if (items[i].slot != kNone) {
      position[items[i].slot] = i;
      continue;
    }
    const JsonValue* value = parser.Parse(items[i].text);
    if (value == nullptr && !parser.refused()) return MalformedList("an item is not JSON");
    std::optional<UpstreamJob> job = value == nullptr ? std::nullopt : JobOf(*value, scrubber);
    if (!job) {
      ++comparison.skipped;
      continue;
    }
    last_parsed[job->id] = parsed.size();
    parsed.push_back({i, *std::move(job)});
  }
  if (!items.empty() && comparison.skipped == items.size())
    return MalformedList("none of its items is a job");

  for (size_t p = 0; p < parsed.size(); ++p) {
    if (last_parsed[parsed[p].job.id] != p) continue;
    if (const auto known = by_id.find(parsed[p].job.id); known != by_id.end()) {
      uint32_t& at = position[known->second];
      if (at != kNone && at > parsed[p].item) continue;
      at = parsed[p].item;
    }
    comparison.winners.push_back(std::move(parsed[p]));
  }
  for (uint32_t slot = 0; slot < slots.size(); ++slot)
    if (position[slot] == kNone && !slots[slot].id.empty()) comparison.gone.push_back(slot);
  return comparison;
}

void ListReader::Memory::Drop(uint32_t slot) {
  if (const auto found = by_digest.find(slots[slot].digest);
      found != by_digest.end() && found->second == slot) {
    by_digest.erase(found);
  }
  slots[slot].digest = Digest();
}

void ListReader::Memory::Learn(std::vector<Item>& items, const Comparison& comparison) {
  for (uint32_t slot : comparison.gone) {
    Drop(slot);
    by_id.erase(slots[slot].id);
    slots[slot] = Slot();
    free_slots.push_back(slot);
  }
  for (const Winner& winner : comparison.winners) {
    const auto [known, is_new] = by_id.try_emplace(winner.job.id, 0);
    if (is_new) {
      if (free_slots.empty()) {
        free_slots.push_back(static_cast<uint32_t>(slots.size()));
        slots.emplace_back();
      }
      known->second = free_slots.back();
      free_slots.pop_back();
      slots[known->second].id = winner.job.id;
    }
    const uint32_t slot = known->second;
    Drop(slot);
    slots[slot].digest = items[winner.item].digest;
    by_digest[slots[slot].digest] = slot;
    items[winner.item].slot = slot;
  }
  uint32_t* link = &first;
  for (const Item& item : items) {
    if (item.slot == kNone) continue;
    *link = item.slot;
    link = &slots[item.slot].next;
  }
  *link = kNone;
}

}  // namespace finetune
