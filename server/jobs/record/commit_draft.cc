#include "server/jobs/record/commit_draft.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "server/segmind/upstream_job.h"

namespace finetune {
namespace {

using Record = record::FineTuneRecord;

bool IsNamed(const Record& record, std::string_view upstream_id) {
  return record.fine_tune().upstream_id() == upstream_id ||
         record.upstream_request_id() == upstream_id;
}

// What a record says, except when it was read and what the recorder itself writes.
std::string ContentOf(const Record& record) {
  Record copy = record;
  copy.clear_read_time();
  copy.clear_read();
  copy.clear_first_revision();
  copy.mutable_fine_tune()->clear_observe_time();
  copy.mutable_fine_tune()->clear_update_time();
  copy.mutable_fine_tune()->clear_revision();
  copy.mutable_fine_tune()->clear_etag();
  return SerialiseRecord(copy);
}

bool IsActive(const Record& record) {
  return !IsTerminal(record.fine_tune().state()) && !record.dormant();
}

// Identifies the version for ever: a revision of an era that was lost may come again with another
// content.
std::string EtagOf(const ResumePoint& point) {
  return absl::StrCat(absl::Hex(point.revision), "-", absl::Hex(point.era, absl::kZeroPad16));
}

}  // namespace

CommitDraft::CommitDraft(const Base& base, absl::Time now)
    : catalog_(base.catalog),
      store_(base.store),
      unsettled_(base.unsettled),
      reads_(base.reads),
      refusal_(base.refusal),
      marker_key_(base.marker_key),
      owner_(base.owner),
      now_(now),
      base_revision_(catalog_.view()->revision()),
      intents_(base.store, base.unsettled, now),
      ledger_(base.store) {}

// ---- Jobs ----

const std::optional<Record>* CommitDraft::FindOwn(const std::string& id) const {
  auto it = own_records_.find(id);
  return it == own_records_.end() ? nullptr : &it->second;
}

std::optional<Record> CommitDraft::Find(std::string_view id) {
  const std::string key(id);
  if (const auto* own = FindOwn(key)) return *own;
  std::optional<Record> record;
  if (auto it = done_records_.find(key); it != done_records_.end()) {
    if (it->second.forgotten) return std::nullopt;
    record = it->second.record;
  } else if (VersionPtr version = catalog_.Find(id)) {
    record = ToRecord(*version);
  } else {
    return std::nullopt;
  }
  for (const Reads& reads : {std::cref(reads_), std::cref(newer_reads_)}) {
    auto it = reads.find(key);
    if (it != reads.end()) record->set_read(std::max(record->read(), it->second));
  }
  return record;
}

std::optional<Record> CommitDraft::FindUpstream(std::string_view upstream_id) {
  if (upstream_id.empty()) return std::nullopt;
  std::vector<std::string> ids;
  for (const UpstreamIds* layer : {&own_upstream_, &done_upstream_}) {
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

void CommitDraft::PutOwn(std::string id, std::optional<Record> record) {
  auto [it, first] = own_records_.insert_or_assign(id, std::move(record));
  if (first) own_order_.push_back(std::move(id));
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
  if (!record.marker().empty()) marked_[record.marker()].insert(*id);
  PutOwn(*std::move(id), std::move(record));
}

void CommitDraft::Forget(std::string_view id) {
  if (Find(id)) PutOwn(std::string(id), std::nullopt);
}

std::optional<CommitDraft::Written> CommitDraft::BaseOf(const std::string& id) const {
  if (auto it = done_records_.find(id); it != done_records_.end()) {
    return it->second.forgotten ? std::nullopt : std::optional(it->second);
  }
  VersionPtr version = catalog_.Find(id);
  if (version == nullptr) return std::nullopt;
  Written base;
  base.record = ToRecord(*version);
  base.version = std::move(version);
  return base;
}

void CommitDraft::Accept(const std::string& id, std::optional<Record> record) {
  std::optional<Written> base = BaseOf(id);
  if (!record) {
    if (base) WriteForgotten(id, *std::move(base));
    return;
  }
  if (base && ContentOf(base->record) == ContentOf(*record)) {
    if (record->read() > base->record.read()) newer_reads_[id] = record->read();
    return;
  }
  Write(*std::move(record), std::move(base));
}

void CommitDraft::Write(Record record, std::optional<Written> base) {
  const std::string id = *IdOf(record.fine_tune().name());
  const uint64_t revision = NextRevision();
  record.set_first_revision(base ? base->record.first_revision() : revision);
  record.mutable_fine_tune()->set_revision(revision);
  record.mutable_fine_tune()->set_etag(EtagOf(catalog_.PointAt(revision)));
  *record.mutable_fine_tune()->mutable_update_time() = ToProto(now_);
  CountJob(base, record, id);
  AddChange(id, {.record = std::move(record)}, std::move(base));
}

// Writes the job's last version with a new revision: it is sent to those who watched the job.
void CommitDraft::WriteForgotten(const std::string& id, Written base) {
  Written last{.record = base.record, .forgotten = true};
  last.record.mutable_fine_tune()->set_revision(NextRevision());
  AddChange(id, std::move(last), std::move(base));
}

void CommitDraft::AddChange(const std::string& id, Written written, std::optional<Written> base) {
  const ResumePoint point = catalog_.PointAt(NextRevision());
  written.bytes = SerialiseRecord(written.record);
  written.version = ParseVersion(written.bytes);
  CHECK(written.version != nullptr);
  changes_.push_back(std::make_shared<VersionChange>(written.version,
                                                     base ? base->version : nullptr, now_,
                                                     EncodeResumeToken(point), written.forgotten));
  std::string before;
  if (base) before = base->bytes.empty() ? SerialiseRecord(base->record) : std::move(base->bytes);
  stored_changes_.push_back(
      {point.revision, now_, id, written.bytes, std::move(before), written.forgotten});
  done_records_.insert_or_assign(id, std::move(written));
}

// ---- The ledger ----

// The submission, as it was before this commit if the commit has not touched it yet.
DraftLedger::Submission& CommitDraft::CountedSubmission(const std::string& id,
                                                        const IntentKey& key) {
  if (DraftLedger::Submission* known = ledger_.Find(id)) return *known;
  const record::Intent* intent = unsettled_.Find(key);
  const bool has_intent = intent != nullptr && intent->fine_tune_id() == id;
  return ledger_.Begin(id, catalog_.Find(id) != nullptr,
                       has_intent ? CountedOf(*intent) : std::nullopt);
}

void CommitDraft::CountJob(const std::optional<Written>& base, const Record& record,
                           const std::string& id) {
  // A job made elsewhere has never cost anything here.
  if (record.request_id().empty() && (!base || base->record.request_id().empty())) return;
  DraftLedger::Submission& submission =
      CountedSubmission(id, {record.fine_tune().creator(), record.request_id()});
  ledger_.ChangeJob(submission, base ? CountedOf(base->record) : std::nullopt, CountedOf(record));
}

void CommitDraft::CountIntent(const record::Intent& intent) {
  const IntentKey key = IntentTable::KeyOf(intent);
  // A new attempt makes another job.
  const record::Intent* earlier = intents_.FindDone(key);
  if (earlier == nullptr) earlier = unsettled_.Find(key);
  if (earlier != nullptr && earlier->fine_tune_id() != intent.fine_tune_id())
    ledger_.ChangeIntent(CountedSubmission(earlier->fine_tune_id(), key), std::nullopt);
  ledger_.ChangeIntent(CountedSubmission(intent.fine_tune_id(), key), CountedOf(intent));
}

// ---- Intents ----

absl::StatusOr<std::optional<record::Intent>> CommitDraft::FindIntent(
    const std::string& caller, const std::string& request_id) {
  return intents_.Find({caller, request_id});
}

std::optional<record::Intent> CommitDraft::FindIntentByMarker(std::string_view marker) {
  return intents_.FindByMarker(marker);
}

std::vector<record::Intent> CommitDraft::UnsettledIntents() { return intents_.Unsettled(); }

std::optional<Record> CommitDraft::FindForeignByMarker(std::string_view marker) {
  return FindByMarker(marker, /*submitted=*/false, catalog_.FindForeignByMarker(marker));
}

std::optional<Record> CommitDraft::FindSubmittedByMarker(std::string_view marker) {
  return FindByMarker(marker, /*submitted=*/true, catalog_.FindSubmittedByMarker(marker));
}

std::optional<Record> CommitDraft::FindByMarker(std::string_view marker, bool submitted,
                                                const VersionPtr& committed) {
  if (marker.empty()) return std::nullopt;
  std::vector<std::string> ids;
  if (committed != nullptr) ids.push_back(committed->id);
  if (const auto it = marked_.find(std::string(marker)); it != marked_.end())
    ids.insert(ids.end(), it->second.begin(), it->second.end());
  for (const std::string& id : ids) {
    auto record = Find(id);
    if (record && record->marker() == marker && record->request_id().empty() != submitted)
      return record;
  }
  return std::nullopt;
}

void CommitDraft::PutIntent(record::Intent intent) {
  if (!refusal_.ok() && intent.state() == record::Intent::PREPARED) {
    own_error_ = refusal_;
    return;
  }
  intents_.Put(std::move(intent));
}

void CommitDraft::DeleteIntent(const std::string& caller, const std::string& request_id) {
  intents_.Refuse({caller, request_id});
}

absl::StatusOr<Spending> CommitDraft::SpendingOf(const std::string& caller) {
  auto creates = intents_.CountCreates(caller);
  if (!creates.ok()) return creates.status();
  return Spending{*creates, CountActive(caller)};
}

int64_t CommitDraft::CountActive(const std::string& caller) const {
  int64_t active = catalog_.ActiveOf(caller);
  const auto count = [&](const std::string& id, const Record* record) {
    const VersionPtr before = catalog_.Find(id);
    if (before != nullptr && before->active() && before->creator == caller) --active;
    if (record != nullptr && IsActive(*record) && record->fine_tune().creator() == caller) ++active;
  };
  for (const auto& [id, written] : done_records_) {
    if (FindOwn(id) == nullptr) count(id, written.forgotten ? nullptr : &written.record);
  }
  for (const auto& [id, record] : own_records_) count(id, record ? &*record : nullptr);
  return active + intents_.CountHidden(caller, [&](const std::string& id) {
    return own_records_.contains(id) || done_records_.contains(id) || catalog_.Find(id) != nullptr;
  });
}

// ---- The commit ----

absl::Status CommitDraft::EndMutation(absl::Status status) {
  if (status.ok()) status = std::move(own_error_);
  if (status.ok()) {
    // Among new jobs of unknown age, the one that was put first counts as the newest: Segmind lists
    // its newest job first.
    std::reverse(
        std::stable_partition(own_order_.begin(), own_order_.end(),
                              [&](const std::string& id) { return BaseOf(id).has_value(); }),
        own_order_.end());
    for (const std::string& id : own_order_) Accept(id, std::move(own_records_.at(id)));
    for (auto& [name, id] : own_upstream_) done_upstream_[name] = std::move(id);
    for (const auto& [key, intent] : intents_.own()) CountIntent(intent);
  }
  intents_.EndMutation(/*keep=*/status.ok());
  own_records_.clear();
  own_order_.clear();
  own_upstream_.clear();
  own_error_ = absl::OkStatus();
  return status;
}

StoreBatch CommitDraft::TakeBatch() {
  StoreBatch batch;
  batch.changes = std::move(stored_changes_);
  batch.put_intents = intents_.All();
  batch.new_totals.assign(ledger_.new_totals().begin(), ledger_.new_totals().end());
  batch.spending = ledger_.Changes();
  return batch;
}

}  // namespace finetune
