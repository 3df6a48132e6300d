#include "tests/emulator/job_store.h"

#include <algorithm>

namespace finetune::emulator {

std::string ArrayText(std::span<const ListItem> items) {
  size_t bytes = 2;
  for (const ListItem& item : items) bytes += item.text->size() + 1;
  std::string text;
  text.reserve(bytes);
  text += '[';
  for (const ListItem& item : items) {
    if (text.size() > 1) text += ',';
    text += *item.text;
  }
  text += ']';
  return text;
}

JobStore::Entry* JobStore::FindEntry(const std::string& id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

bool JobStore::Add(Job job) {
  MutexLock lock(&mu_);
  if (by_id_.count(job.id) != 0 || by_id_.count(job.finetune_id) != 0) return false;
  auto entry = std::make_unique<Entry>();
  entry->job = std::move(job);
  by_id_[entry->job.id] = entry.get();
  by_id_[entry->job.finetune_id] = entry.get();
  if (entry->job.hidden_lists > 0 || entry->job.visible_at > std::chrono::steady_clock::now()) {
    entry->shown = false;
    hidden_.push_back(entry.get());
  }
  entries_.push_back(std::move(entry));
  list_body_ = nullptr;
  return true;
}

std::optional<Job> JobStore::Find(const std::string& id) const {
  MutexLock lock(&mu_);
  const Entry* entry = FindEntry(id);
  if (entry == nullptr) return std::nullopt;
  return entry->job;
}

std::optional<Job> JobStore::Update(const std::string& id,
                                    const std::function<void(Job*)>& change) {
  MutexLock lock(&mu_);
  Entry* entry = FindEntry(id);
  if (entry == nullptr) return std::nullopt;
  const std::string old_id = entry->job.id;
  const std::string old_finetune_id = entry->job.finetune_id;
  change(&entry->job);
  // A job's ids are how it is found; they never change.
  entry->job.id = old_id;
  entry->job.finetune_id = old_finetune_id;
  entry->item = nullptr;
  list_body_ = nullptr;
  return entry->job;
}

bool JobStore::Remove(const std::string& id) {
  MutexLock lock(&mu_);
  Entry* entry = FindEntry(id);
  if (entry == nullptr) return false;
  by_id_.erase(entry->job.finetune_id);
  by_id_.erase(entry->job.id);
  std::erase(hidden_, entry);
  std::erase_if(entries_, [&](const auto& owned) { return owned.get() == entry; });
  list_body_ = nullptr;
  return true;
}

void JobStore::Clear() {
  MutexLock lock(&mu_);
  hidden_.clear();
  by_id_.clear();
  entries_.clear();
  list_body_ = nullptr;
}

void JobStore::ShowDueJobs() {
  if (hidden_.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  const size_t shown = std::erase_if(hidden_, [&](Entry* entry) {
    Job& job = entry->job;
    if (job.hidden_lists > 0) {
      --job.hidden_lists;
      return false;
    }
    if (job.visible_at > now) return false;
    entry->shown = true;
    return true;
  });
  if (shown > 0) list_body_ = nullptr;
}

std::vector<ListItem> JobStore::ShownItems() {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  std::vector<ListItem> items;
  items.reserve(entries_.size());
  for (const auto& entry : entries_) {
    if (!entry->shown) continue;
    if (entry->item == nullptr) {
      entry->item = std::make_shared<const std::string>(ListItemText(entry->job, *settings));
    }
    items.push_back({entry->job.id, entry->item});
  }
  if (settings->list_order == "newest") std::reverse(items.begin(), items.end());
  return items;
}

std::vector<ListItem> JobStore::ListItems() {
  MutexLock lock(&mu_);
  ShowDueJobs();
  return ShownItems();
}

std::shared_ptr<const std::string> JobStore::ListBody() {
  MutexLock lock(&mu_);
  ShowDueJobs();
  if (list_body_ == nullptr)
    list_body_ = std::make_shared<const std::string>(ArrayText(ShownItems()));
  return list_body_;
}

void JobStore::Rerender() {
  MutexLock lock(&mu_);
  for (const auto& entry : entries_) entry->item = nullptr;
  list_body_ = nullptr;
}

std::vector<Job> JobStore::All() const {
  MutexLock lock(&mu_);
  std::vector<Job> jobs;
  jobs.reserve(entries_.size());
  for (const auto& entry : entries_) jobs.push_back(entry->job);
  return jobs;
}

size_t JobStore::size() const {
  MutexLock lock(&mu_);
  return entries_.size();
}

}  // namespace finetune::emulator
