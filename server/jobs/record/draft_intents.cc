#include "server/jobs/record/draft_intents.h"

#include <algorithm>
#include <utility>

#include "server/base/time_proto.h"

namespace finetune {
namespace {

std::optional<record::Intent> UnlessRefused(std::optional<record::Intent> intent) {
  if (intent && intent->state() == record::Intent::REFUSED) return std::nullopt;
  return intent;
}

}  // namespace

const record::Intent* DraftIntents::FindLayered(const IntentKey& key) const {
  for (const Layer* layer : {&own_, &done_}) {
    if (auto it = layer->find(key); it != layer->end()) return &it->second;
  }
  return nullptr;
}

absl::StatusOr<std::optional<record::Intent>> DraftIntents::Find(const IntentKey& key) {
  if (const record::Intent* layered = FindLayered(key)) return UnlessRefused(*layered);
  if (const record::Intent* intent = unsettled_.Find(key)) {
    return std::optional<record::Intent>(*intent);
  }
  auto stored = store_.FindIntent(key.first, key.second);
  if (!stored.ok()) return stored.status();
  return UnlessRefused(*std::move(stored));
}

std::optional<record::Intent> DraftIntents::FindByMarker(std::string_view marker) const {
  if (marker.empty()) return std::nullopt;
  for (const Layer* layer : {&own_, &done_}) {
    for (const auto& [key, intent] : *layer) {
      if (intent.marker() != marker || FindLayered(key) != &intent) continue;
      return IntentTable::IsUnsettled(intent) ? std::optional(intent) : std::nullopt;
    }
  }
  const record::Intent* intent = unsettled_.FindByMarker(marker);
  if (intent == nullptr || FindLayered(IntentTable::KeyOf(*intent)) != nullptr) return std::nullopt;
  return *intent;
}

std::vector<record::Intent> DraftIntents::Unsettled() const {
  std::vector<record::Intent> all;
  for (const auto& [key, intent] : unsettled_.all()) {
    if (FindLayered(key) == nullptr) all.push_back(intent);
  }
  for (const Layer* layer : {&done_, &own_}) {
    for (const auto& [key, intent] : *layer) {
      if (IntentTable::IsUnsettled(intent) && FindLayered(key) == &intent) all.push_back(intent);
    }
  }
  return all;
}

void DraftIntents::Put(record::Intent intent) {
  IntentKey key = IntentTable::KeyOf(intent);
  own_.insert_or_assign(std::move(key), std::move(intent));
}

void DraftIntents::Refuse(const IntentKey& key) {
  record::Intent refused;
  if (const record::Intent* layered = FindLayered(key)) {
    refused = *layered;
  } else if (const record::Intent* intent = unsettled_.Find(key)) {
    refused = *intent;
  }
  refused.set_caller(key.first);
  refused.set_request_id(key.second);
  refused.set_state(record::Intent::REFUSED);
  *refused.mutable_settle_time() = ToProto(now_);
  Put(std::move(refused));
}

bool DraftIntents::Counts(const record::Intent& intent) const {
  return intent.state() < record::Intent::NOT_SUBMITTED &&
         FromProto(intent.create_time()) > now_ - kSpendingWindow;
}

absl::StatusOr<bool> DraftIntents::CountsInStore(const IntentKey& key) {
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

absl::StatusOr<CreateCount> DraftIntents::CountCreates(const std::string& caller) {
  auto stored = stored_creates_.find(caller);
  if (stored == stored_creates_.end()) {
    auto counted = store_.CountCreates(caller, now_ - kSpendingWindow);
    if (!counted.ok()) return counted.status();
    stored = stored_creates_.emplace(caller, *counted).first;
  }
  CreateCount creates = stored->second;
  for (const Layer* layer : {&done_, &own_}) {
    for (auto it = layer->lower_bound({caller, ""}); it != layer->end(); ++it) {
      const auto& [key, intent] = *it;
      if (key.first != caller) break;
      if (FindLayered(key) != &intent) continue;
      auto counted = CountsInStore(key);
      if (!counted.ok()) return counted.status();
      const bool counts = Counts(intent);
      creates.count += (counts ? 1 : 0) - (*counted ? 1 : 0);
      if (counts) creates.oldest = std::min(creates.oldest, FromProto(intent.create_time()));
    }
  }
  return creates;
}

int64_t DraftIntents::CountHidden(const std::string& caller,
                                  absl::FunctionRef<bool(const std::string& id)> is_visible) const {
  int64_t hidden = 0;
  const auto count = [&](const record::Intent& intent) {
    if (IntentTable::IsUnsettled(intent) && !is_visible(intent.fine_tune_id())) ++hidden;
  };
  const auto& all = unsettled_.all();
  for (auto it = all.lower_bound({caller, ""}); it != all.end(); ++it) {
    if (it->first.first != caller) break;
    if (FindLayered(it->first) == nullptr) count(it->second);
  }
  for (const Layer* layer : {&done_, &own_}) {
    for (auto it = layer->lower_bound({caller, ""}); it != layer->end(); ++it) {
      if (it->first.first != caller) break;
      if (FindLayered(it->first) == &it->second) count(it->second);
    }
  }
  return hidden;
}

void DraftIntents::EndMutation(bool keep) {
  if (keep) {
    puts_ += own_.size();
    for (auto& [key, intent] : own_) done_.insert_or_assign(key, std::move(intent));
  }
  own_.clear();
}

std::vector<record::Intent> DraftIntents::All() const {
  std::vector<record::Intent> all;
  all.reserve(done_.size());
  for (const auto& [key, intent] : done_) all.push_back(intent);
  return all;
}

}  // namespace finetune
