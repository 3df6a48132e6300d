#include "server/jobs/record/commit_draft.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/time_proto.h"
#include "server/segmind/upstream_job.h"

namespace finetune {
namespace {

using Record = record::FineTuneRecord;

bool IsNamed(const Record& record, std::string_view upstream_id) {
  return record.fine_tune().upstream_id() == upstream_id ||
         record.upstream_request_id() == upstream_id;
}

// What a record says, apart from when it was read and from what the recorder itself writes.
std::string Meaning(const Record& record) {
  Record copy = record;
  copy.clear_read_time();
  copy.clear_first_revision();
  copy.mutable_fine_tune()->clear_observe_time();
  copy.mutable_fine_tune()->clear_update_time();
  copy.mutable_fine_tune()->clear_revision();
  copy.mutable_fine_tune()->clear_etag();
  return SerialiseRecord(copy);
}

std::string EtagOf(uint64_t revision, const std::string& epoch) {
  return absl::StrCat(absl::Hex(revision), "-", epoch.substr(0, 8));
}

}  // namespace

void IntentTable::Put(const record::Intent& intent) {
  const Key key = KeyOf(intent);
  Erase(key);
  if (!IsUnsettled(intent)) return;
  intents_[key] = intent;
  if (!intent.marker().empty()) by_marker_[intent.marker()] = key;
}

void IntentTable::Erase(const Key& key) {
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

const record::Intent* IntentTable::Find(const Key& key) const {
  auto it = intents_.find(key);
  return it == intents_.end() ? nullptr : &it->second;
}

const record::Intent* IntentTable::FindByMarker(std::string_view marker) const {
  auto it = by_marker_.find(std::string(marker));
  return it == by_marker_.end() ? nullptr : Find(it->second);
}

CommitDraft::CommitDraft(const Catalog& catalog, Store& store, const IntentTable& unsettled,
                         const ReadTimes& read_times, absl::Time now)
    : catalog_(catalog),
      store_(store),
      unsettled_(unsettled),
      read_times_(read_times),
      now_(now),
      base_revision_(catalog.view()->revision()) {}

std::optional<Record> CommitDraft::Find(std::string_view id) {
  const std::string key(id);
  if (auto it = own_records_.find(key); it != own_records_.end()) return it->second;
  std::optional<Record> record;
  if (auto it = batch_records_.find(key); it != batch_records_.end()) {
    record = it->second.record;
  } else if (VersionPtr version = catalog_.Find(id)) {
    record = ToRecord(*version);
  } else {
    return std::nullopt;
  }
  for (const ReadTimes& times : {std::cref(read_times_), std::cref(newer_read_times_)}) {
    auto it = times.find(key);
    if (it != times.end() && it->second > FromProto(record->read_time())) {
      *record->mutable_read_time() = ToProto(it->second);
    }
  }
  return record;
}

std::optional<Record> CommitDraft::FindUpstream(std::string_view upstream_id) {
  if (upstream_id.empty()) return std::nullopt;
  std::vector<std::string> ids;
  for (const UpstreamIds* layer : {&own_upstream_, &batch_upstream_}) {
    if (auto it = layer->find(std::string(upstream_id)); it != layer->end())
      ids.push_back(it->second);
  }
  if (const VersionPtr version = catalog_.FindUpstream(upstream_id)) ids.push_back(version->id);
  std::optional<Record> by_other_name;
  for (const std::string& id : ids) {
    std::optional<Record> record = Find(id);
    if (!record || !IsNamed(*record, upstream_id)) continue;
    if (record->fine_tune().upstream_id() == upstream_id) return record;
    if (!by_other_name) by_other_name = std::move(record);
  }
  return by_other_name;
}

void CommitDraft::Put(Record record) {
  std::optional<std::string> id = IdOf(record.fine_tune().name());
  if (!id) {
    own_error_ = absl::InternalError(
        absl::StrCat("a fine-tune may not be named '", record.fine_tune().name(), "'"));
    return;
  }
  if (const std::string& name = record.fine_tune().upstream_id(); !name.empty())
    own_upstream_[name] = *id;
  if (const std::string& name = record.upstream_request_id(); !name.empty())
    own_upstream_.try_emplace(name, *id);
  auto [it, first] = own_records_.insert_or_assign(*id, std::move(record));
  if (first) own_order_.push_back(*std::move(id));
}

const std::optional<record::Intent>* CommitDraft::FindLayered(const IntentKey& key) const {
  for (const Intents* layer : {&own_intents_, &batch_intents_}) {
    if (auto it = layer->find(key); it != layer->end()) return &it->second;
  }
  return nullptr;
}

absl::StatusOr<std::optional<record::Intent>> CommitDraft::FindIntent(
    const std::string& caller, const std::string& request_id) {
  const IntentKey key(caller, request_id);
  if (const auto* layered = FindLayered(key)) return *layered;
  if (const record::Intent* intent = unsettled_.Find(key)) {
    return std::optional<record::Intent>(*intent);
  }
  return store_.FindIntent(caller, request_id);
}

std::optional<record::Intent> CommitDraft::FindIntentByMarker(std::string_view marker) {
  if (marker.empty()) return std::nullopt;
  for (const Intents* layer : {&own_intents_, &batch_intents_}) {
    for (const auto& [key, intent] : *layer) {
      if (intent && intent->marker() == marker && FindLayered(key) == &intent) {
        return IntentTable::IsUnsettled(*intent) ? intent : std::nullopt;
      }
    }
  }
  const record::Intent* intent = unsettled_.FindByMarker(marker);
  if (intent == nullptr || FindLayered(IntentTable::KeyOf(*intent)) != nullptr) {
    return std::nullopt;
  }
  return *intent;
}

std::vector<record::Intent> CommitDraft::UnsettledIntents() {
  std::vector<record::Intent> all;
  for (const auto& [key, intent] : unsettled_.all()) {
    if (FindLayered(key) == nullptr) all.push_back(intent);
  }
  for (const Intents* layer : {&batch_intents_, &own_intents_}) {
    for (const auto& [key, intent] : *layer) {
      if (intent && IntentTable::IsUnsettled(*intent) && FindLayered(key) == &intent) {
        all.push_back(*intent);
      }
    }
  }
  return all;
}

void CommitDraft::PutIntent(record::Intent intent) {
  IntentKey key = IntentTable::KeyOf(intent);
  own_intents_.insert_or_assign(std::move(key), std::move(intent));
}

void CommitDraft::DeleteIntent(const std::string& caller, const std::string& request_id) {
  own_intents_.insert_or_assign(IntentKey(caller, request_id), std::nullopt);
}

bool CommitDraft::Counts(const record::Intent& intent) const {
  return intent.state() != record::Intent::NOT_SUBMITTED &&
         FromProto(intent.create_time()) > now_ - kSpendingWindow;
}

absl::StatusOr<bool> CommitDraft::CountsInStore(const IntentKey& key) {
  if (auto it = counts_in_store_.find(key); it != counts_in_store_.end()) return it->second;
  bool counts = false;
  if (const record::Intent* intent = unsettled_.Find(key)) {
    counts = Counts(*intent);
  } else {
    auto found = store_.FindIntent(key.first, key.second);
    if (!found.ok()) return found.status();
    counts = found->has_value() && Counts(**found);
  }
  return counts_in_store_[key] = counts;
}

absl::StatusOr<CreateCount> CommitDraft::CountCreates(const std::string& caller) {
  auto stored = stored_creates_.find(caller);
  if (stored == stored_creates_.end()) {
    auto counted = store_.CountCreates(caller, now_ - kSpendingWindow);
    if (!counted.ok()) return counted.status();
    stored = stored_creates_.emplace(caller, *counted).first;
  }
  CreateCount creates = stored->second;
  for (const Intents* layer : {&batch_intents_, &own_intents_}) {
    for (auto it = layer->lower_bound({caller, ""}); it != layer->end(); ++it) {
      const auto& [key, intent] = *it;
      if (key.first != caller) break;
      if (FindLayered(key) != &intent) continue;
      auto counted = CountsInStore(key);
      if (!counted.ok()) return counted.status();
      const bool counts = intent && Counts(*intent);
      creates.count += (counts ? 1 : 0) - (*counted ? 1 : 0);
      if (counts) creates.oldest = std::min(creates.oldest, FromProto(intent->create_time()));
    }
  }
  return creates;
}

int64_t CommitDraft::CountActive(const std::string& caller) const {
  int64_t active = catalog_.ActiveOf(caller);
  const auto count = [&](const std::string& id, const pb::FineTune& job) {
    const VersionPtr before = catalog_.Find(id);
    if (before != nullptr && before->active() && before->creator == caller) --active;
    if (!IsTerminal(job.state()) && job.creator() == caller) ++active;
  };
  for (const auto& [id, written] : batch_records_) {
    if (!own_records_.contains(id)) count(id, written.record.fine_tune());
  }
  for (const auto& [id, record] : own_records_) count(id, record.fine_tune());
  const auto is_visible = [&](const std::string& id) {
    return own_records_.contains(id) || batch_records_.contains(id) || catalog_.Find(id);
  };
  const auto count_hidden = [&](const record::Intent& intent) {
    if (IntentTable::IsUnsettled(intent) && !is_visible(intent.fine_tune_id())) ++active;
  };
  const auto& all = unsettled_.all();
  for (auto it = all.lower_bound({caller, ""}); it != all.end(); ++it) {
    if (it->first.first != caller) break;
    if (FindLayered(it->first) == nullptr) count_hidden(it->second);
  }
  for (const Intents* layer : {&batch_intents_, &own_intents_}) {
    for (auto it = layer->lower_bound({caller, ""}); it != layer->end(); ++it) {
      if (it->first.first != caller) break;
      if (it->second && FindLayered(it->first) == &it->second) count_hidden(*it->second);
    }
  }
  return active;
}

absl::StatusOr<Spending> CommitDraft::SpendingOf(const std::string& caller) {
  auto creates = CountCreates(caller);
  if (!creates.ok()) return creates.status();
  return Spending{*creates, CountActive(caller)};
}

absl::Status CommitDraft::EndMutation(absl::Status status) {
  if (status.ok()) status = std::move(own_error_);
  if (status.ok()) {
    for (const std::string& id : own_order_) Accept(std::move(own_records_.at(id)));
    intents_put_ += own_intents_.size();
    for (auto& [key, intent] : own_intents_) batch_intents_[key] = std::move(intent);
    for (auto& [name, id] : own_upstream_) batch_upstream_[name] = std::move(id);
  }
  own_records_.clear();
  own_order_.clear();
  own_intents_.clear();
  own_upstream_.clear();
  own_error_ = absl::OkStatus();
  return status;
}

std::optional<CommitDraft::Written> CommitDraft::BaseOf(const std::string& id) const {
  if (auto it = batch_records_.find(id); it != batch_records_.end()) return it->second;
  VersionPtr version = catalog_.Find(id);
  if (version == nullptr) return std::nullopt;
  Written base;
  base.record = ToRecord(*version);
  base.version = std::move(version);
  return base;
}

void CommitDraft::Accept(Record record) {
  const std::string id = *IdOf(record.fine_tune().name());
  std::optional<Written> base = BaseOf(id);
  if (base && Meaning(base->record) == Meaning(record)) {
    const absl::Time time = FromProto(record.read_time());
    if (time > FromProto(base->record.read_time())) newer_read_times_[id] = time;
    return;
  }
  Write(std::move(record), std::move(base));
}

void CommitDraft::Write(Record record, std::optional<Written> base) {
  const std::string id = *IdOf(record.fine_tune().name());
  const uint64_t revision = base_revision_ + changes_.size() + 1;
  record.set_first_revision(base ? base->record.first_revision() : revision);
  record.mutable_fine_tune()->set_revision(revision);
  record.mutable_fine_tune()->set_etag(EtagOf(revision, catalog_.epoch()));
  *record.mutable_fine_tune()->mutable_update_time() = ToProto(now_);

  Written written;
  written.bytes = SerialiseRecord(record);
  written.version = ParseVersion(written.bytes);
  CHECK(written.version != nullptr);
  written.record = std::move(record);
  changes_.push_back(std::make_shared<Change>(written.version, base ? base->version : nullptr, now_,
                                              EncodeResumeToken({catalog_.epoch(), revision})));
  std::string before;
  if (base) before = base->bytes.empty() ? SerialiseRecord(base->record) : std::move(base->bytes);
  stored_changes_.push_back({revision, now_, id, written.bytes, std::move(before)});
  batch_records_.insert_or_assign(id, std::move(written));
}

Batch CommitDraft::TakeBatch() {
  Batch batch;
  batch.base_revision = base_revision_;
  batch.changes = std::move(stored_changes_);
  for (const auto& [key, intent] : batch_intents_) {
    if (intent) {
      batch.put_intents.push_back(*intent);
    } else {
      batch.delete_intents.push_back(key);
    }
  }
  return batch;
}

void CommitDraft::ApplyIntents(IntentTable& unsettled) const {
  for (const auto& [key, intent] : batch_intents_) {
    if (intent) {
      unsettled.Put(*intent);
    } else {
      unsettled.Erase(key);
    }
  }
}

}  // namespace finetune
