#include "server/segmind/list_reader.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
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

// 128 bits: items with the same digest are taken for equal. It is no protection from an attacker,
// who would be Segmind.
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

// The digest of all bodies, and their length.
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

// The digest of an item. It does not change if only the item's URLs were signed again.
Digest DigestOfItem(std::string_view text) {
  std::string cleaned;
  return JsonWithoutSignatures(text, cleaned) ? DigestOf(cleaned) : DigestOf(text);
}

const Scrubber& NothingToScrub() {
  static const auto& nothing = *new Scrubber();
  return nothing;
}

const Scrubber& ScrubberOr(const std::shared_ptr<const Scrubber>& scrubber) {
  return scrubber == nullptr ? NothingToScrub() : *scrubber;
}

// Most items hide nothing, and it costs less to see that once than for each text. Escapes would
// have to be undone first, and percent signs make a long text expensive.
const Scrubber& ScrubberFor(std::string_view item, const Scrubber& scrubber) {
  const auto has = [&](char c) { return item.find(c) != item.npos; };
  return has('\\') || has('%') || scrubber.Finds(item) ? scrubber : NothingToScrub();
}

// Whether an item without a name may be a job: it has members.
bool TellsSomething(std::string_view item) {
  return item.substr(0, 1) == "{" && SkipSpace(item.substr(1)).substr(0, 1) != "}";
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
  Digest digest;          // All zeros: not known.
  uint32_t next = kNone;  // The slot of the item behind it in the last list.
};

// A set of slots by id, which is searched without copying the id.
struct SlotHash {
  using is_transparent = void;
  size_t operator()(std::string_view id) const {
    return absl::HashOf(absl::string_view(id.data(), id.size()));
  }
  size_t operator()(uint32_t slot) const { return (*this)((*slots)[slot].id); }
  const std::vector<Slot>* slots;
};
struct SlotEqual {
  using is_transparent = void;
  bool operator()(uint32_t a, uint32_t b) const { return a == b; }
  bool operator()(uint32_t slot, std::string_view id) const { return (*slots)[slot].id == id; }
  bool operator()(std::string_view id, uint32_t slot) const { return (*slots)[slot].id == id; }
  const std::vector<Slot>* slots;
};

}  // namespace

struct ListReader::Memory {
  // An item whose job is new in this list or differs from the last one.
  struct News {
    uint32_t item;
    uint32_t slot;  // The job's, or kNone if it is new.
    std::string id;
  };
  struct Comparison {
    std::vector<News> news;            // The list's last item first.
    std::vector<UpstreamJob> changed;  // Of the first ones of them, in their order.
    std::vector<uint32_t> gone;
    size_t added = 0;  // Of the news, those of jobs that the last list did not have.
    size_t skipped = 0;
    size_t nameless = 0;
  };
  // What is still to be read of the last list's news, and how.
  struct Rest {
    std::vector<std::string_view> items;  // In the list's order.
    std::shared_ptr<const Scrubber> scrubber;
    prometheus::Counter* unread_times = nullptr;
  };

  absl::Status Split(std::string_view array, std::vector<Item>& items);
  uint32_t Recall(const Digest& digest, uint32_t& guess) const;
  absl::StatusOr<Comparison> Compare(const std::vector<Item>& items, const UpstreamList& limits,
                                     size_t most);
  absl::Status Look(const Item& item, const UpstreamList& limits, UpstreamJob* job,
                    std::string& id);
  bool IsFirst(const News& news, std::vector<bool>& listed,
               absl::flat_hash_set<std::string_view>& new_ids) const;
  uint32_t Find(std::string_view id) const;
  uint32_t AddSlot(std::string id);
  void Learn(std::vector<Item>& items, Comparison& comparison);
  void Drop(uint32_t slot);
  void IndexDigests();
  void CountUnreadTimes(const std::vector<UpstreamJob>& jobs) const;

  JsonParser parser;
  // The last list that could be read.
  Digest body_digest;
  size_t body_size = 0;  // 0: none, or forgotten.
  size_t total = 0;
  size_t skipped = 0;
  size_t nameless = 0;
  std::string more;
  uint32_t first = kNone;
  uint32_t expected = kNone;  // While a list is split: the slot of the next item, probably.
  std::vector<Slot> slots;    // Free ones have no id.
  std::vector<uint32_t> free_slots;
  absl::flat_hash_map<Digest, uint32_t> by_digest;
  absl::flat_hash_set<uint32_t, SlotHash, SlotEqual> by_id{0, SlotHash{&slots}, SlotEqual{&slots}};
  // The jobs that it reported as gone; after Forget, the next delta has to report them again.
  std::vector<std::string> last_gone;
  absl::flat_hash_set<std::string> owed_gone;
  Rest rest;
};

ListReader::ListReader() : memory_(std::make_unique<Memory>()) {}
ListReader::~ListReader() = default;

absl::StatusOr<ListDelta> ListReader::Read(std::string_view body) {
  UpstreamList list;
  return ReadBodies({body}, std::nullopt, list, std::numeric_limits<size_t>::max());
}

absl::StatusOr<ListDelta> ListReader::Read(const UpstreamList& pages, size_t most) {
  return ReadBodies({pages.bodies.begin(), pages.bodies.end()}, pages.more, pages, most);
}

absl::StatusOr<ListDelta> ListReader::ReadBodies(const std::vector<std::string_view>& bodies,
                                                 const std::optional<std::string>& more,
                                                 const UpstreamList& limits, size_t most) {
  Memory& memory = *memory_;
  memory.rest = Memory::Rest();
  ListDelta delta;
  const auto [body_digest, body_size] = DigestOf(bodies);
  if (memory.body_size != 0 && memory.body_size == body_size && memory.body_digest == body_digest) {
    memory.last_gone.clear();
    delta.total = memory.total;
    delta.skipped = memory.skipped;
    delta.nameless = memory.nameless;
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
  ASSIGN_OR_RETURN(Memory::Comparison comparison, memory.Compare(items, limits, most));

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
  memory.nameless = delta.nameless = comparison.nameless;
  delta.changed = std::move(comparison.changed);
  std::reverse(delta.changed.begin(), delta.changed.end());
  delta.more_changed = comparison.news.size() - delta.changed.size();
  memory.rest = {.items = {}, .scrubber = limits.scrubber, .unread_times = limits.unread_times};
  memory.CountUnreadTimes(delta.changed);
  memory.rest.items.reserve(delta.more_changed);
  for (size_t i = comparison.news.size(); i-- > delta.changed.size();)
    memory.rest.items.push_back(items[comparison.news[i].item].text);
  return delta;
}

std::vector<UpstreamJob> ListReader::MoreChanged(size_t most) {
  Memory& memory = *memory_;
  Memory::Rest& rest = memory.rest;
  std::vector<UpstreamJob> jobs;
  const size_t begin = rest.items.size() - std::min(most, rest.items.size());
  jobs.reserve(rest.items.size() - begin);
  for (size_t i = begin; i < rest.items.size(); ++i) {
    // It was found to be a job when the list was read.
    const JsonValue* value = memory.parser.Parse(rest.items[i]);
    if (value == nullptr) continue;
    const Scrubber& scrubber = ScrubberFor(rest.items[i], ScrubberOr(rest.scrubber));
    if (!ReadJob(*value, scrubber, jobs.emplace_back())) jobs.pop_back();
  }
  memory.CountUnreadTimes(jobs);
  rest.items.resize(begin);
  if (rest.items.empty()) rest = Memory::Rest();
  return jobs;
}

size_t ListReader::more_changed() const { return memory_->rest.items.size(); }

void ListReader::Forget() {
  Memory& memory = *memory_;
  memory.rest = Memory::Rest();
  memory.body_size = 0;
  memory.first = kNone;
  memory.by_digest.clear();
  for (Slot& slot : memory.slots) slot.digest = Digest();
  memory.owed_gone.insert(memory.last_gone.begin(), memory.last_gone.end());
  memory.last_gone.clear();
}

bool ListReader::Has(std::string_view id) const { return memory_->Find(id) != kNone; }

absl::Status ListReader::Memory::Split(std::string_view array, std::vector<Item>& items) {
  if (items.empty()) expected = first;
  const std::optional<size_t> end = ScanArray(array, [&](std::string_view text) {
    const Digest digest = DigestOfItem(text);
    items.push_back({text, digest, Recall(digest, expected)});
  });
  if (!end) return MalformedList("it is cut short or its items are not well separated");
  // For an array within an object this was checked before.
  if (!SkipSpace(array.substr(*end)).empty()) return MalformedList("something follows it");
  return absl::OkStatus();
}

// Lists mostly come in the order of the last one, so looking there first saves the table's cache
// misses. `guess` is where the next item is expected.
uint32_t ListReader::Memory::Recall(const Digest& digest, uint32_t& guess) const {
  uint32_t slot = guess;
  // The second try is for an item that disappeared or changed.
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

// Reads an item: its id, and `job` if that is wanted. The id is empty if the item cannot be read,
// and then `job` is of no use.
absl::Status ListReader::Memory::Look(const Item& item, const UpstreamList& limits,
                                      UpstreamJob* job, std::string& id) {
  const Scrubber& scrubber = ScrubberOr(limits.scrubber);
  bool parsed = false;
  if (job != nullptr) {
    const JsonValue* value = parser.Parse(item.text);
    parsed = value != nullptr;
    if (parsed && ReadJob(*value, ScrubberFor(item.text, scrubber), *job)) id = job->id;
  } else if (std::optional<std::string> found = JobIdOf(item.text, parser, scrubber)) {
    parsed = true;
    id = *std::move(found);
  }
  if (!parsed && !parser.refused()) return MalformedList("an item is not JSON");
  return absl::OkStatus();
}

// The slot of a job that the last list had, or kNone.
uint32_t ListReader::Memory::Find(std::string_view id) const {
  const auto known = by_id.find(id);
  return known == by_id.end() ? kNone : *known;
}

// Whether this is the first item about its job.
bool ListReader::Memory::IsFirst(const News& news, std::vector<bool>& listed,
                                 absl::flat_hash_set<std::string_view>& new_ids) const {
  if (news.slot == kNone) return new_ids.insert(news.id).second;
  if (listed[news.slot]) return false;
  listed[news.slot] = true;
  return true;
}

// From the end, because the last of several items about one job counts.
absl::StatusOr<ListReader::Memory::Comparison> ListReader::Memory::Compare(
    const std::vector<Item>& items, const UpstreamList& limits, size_t most) {
  Comparison comparison;
  // Which known jobs are in this list, and which others.
  std::vector<bool> listed(slots.size(), false);
  absl::flat_hash_set<std::string_view> new_ids;  // Those of the news, which do not move.
  const auto unknown = std::count_if(items.begin(), items.end(),
                                     [](const Item& item) { return item.slot == kNone; });
  comparison.news.reserve(unknown);
  comparison.changed.reserve(std::min<size_t>(unknown, most));
  if (items.size() > by_id.size()) new_ids.reserve(items.size() - by_id.size());
  for (size_t i = items.size(); i-- > 0;) {
    if (items[i].slot != kNone) {
      listed[items[i].slot] = true;
      continue;
    }
    const bool whole = comparison.changed.size() < most;
    News news{.item = static_cast<uint32_t>(i), .slot = kNone, .id = {}};
    RETURN_IF_ERROR(
        Look(items[i], limits, whole ? &comparison.changed.emplace_back() : nullptr, news.id));
    bool is_news = !news.id.empty();
    if (!is_news) {
      ++comparison.skipped;
      if (TellsSomething(items[i].text)) ++comparison.nameless;
    }
    if (is_news) {
      news.slot = Find(news.id);
      // Moved to its place first, because it is noted by its own id.
      comparison.news.push_back(std::move(news));
      is_news = IsFirst(comparison.news.back(), listed, new_ids);
      if (!is_news) comparison.news.pop_back();
    }
    if (whole && !is_news) comparison.changed.pop_back();
  }
  if (!items.empty() && comparison.skipped == items.size())
    return MalformedList("none of its items is a job");
  comparison.added = new_ids.size();
  for (uint32_t slot = 0; slot < slots.size(); ++slot)
    if (!listed[slot] && !slots[slot].id.empty()) comparison.gone.push_back(slot);
  return comparison;
}

void ListReader::Memory::CountUnreadTimes(const std::vector<UpstreamJob>& jobs) const {
  if (rest.unread_times == nullptr) return;
  for (const UpstreamJob& job : jobs) rest.unread_times->Increment(job.unread_times);
}

void ListReader::Memory::Drop(uint32_t slot) {
  if (const auto found = by_digest.find(slots[slot].digest);
      found != by_digest.end() && found->second == slot) {
    by_digest.erase(found);
  }
  slots[slot].digest = Digest();
}

// Adds a slot for a job that has none.
uint32_t ListReader::Memory::AddSlot(std::string id) {
  if (free_slots.empty()) {
    free_slots.push_back(static_cast<uint32_t>(slots.size()));
    slots.emplace_back();
  }
  const uint32_t slot = free_slots.back();
  free_slots.pop_back();
  slots[slot].id = std::move(id);
  by_id.insert(slot);
  return slot;
}

void ListReader::Memory::IndexDigests() {
  by_digest.clear();
  by_digest.reserve(by_id.size());
  for (uint32_t slot = 0; slot < slots.size(); ++slot)
    if (!(slots[slot].digest == Digest())) by_digest[slots[slot].digest] = slot;
}

void ListReader::Memory::Learn(std::vector<Item>& items, Comparison& comparison) {
  for (uint32_t slot : comparison.gone) {
    Drop(slot);
    by_id.erase(slot);
    slots[slot] = Slot();
    free_slots.push_back(slot);
  }
  by_id.reserve(by_id.size() + comparison.added);
  // If most items have changed, a new table is made faster than the old one is updated.
  const bool anew = comparison.news.size() > by_digest.size() / 2;
  for (News& news : comparison.news) {
    const uint32_t slot = news.slot == kNone ? AddSlot(std::move(news.id)) : news.slot;
    if (!anew) Drop(slot);
    slots[slot].digest = items[news.item].digest;
    if (!anew) by_digest[slots[slot].digest] = slot;
    items[news.item].slot = slot;
  }
  if (anew) IndexDigests();
  uint32_t* link = &first;
  for (const Item& item : items) {
    if (item.slot == kNone) continue;
    *link = item.slot;
    link = &slots[item.slot].next;
  }
  *link = kNone;
}

}  // namespace finetune
