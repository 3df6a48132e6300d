#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/emulator/job.h"
#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// A job as the list shows it.
struct ListItem {
  std::string id;
  std::shared_ptr<const std::string> text;
};

// The JSON array of them.
std::string ArrayText(std::span<const ListItem> items);

// All jobs of the account, in memory. The list's body is kept between changes, so that serving it
// costs nothing. Thread-safe. Owned by main; `settings` must outlive it.
class JobStore {
 public:
  explicit JobStore(const LiveSettings* settings) : settings_(settings) {}

  // False if there is a job of that id already.
  bool Add(Job job);
  // Finds by id or finetune_id, hidden ones too.
  std::optional<Job> Find(const std::string& id) const;
  // Calls `change` under the store's lock if there is such a job; it must not call the store.
  // Returns the job as it is afterwards.
  std::optional<Job> Update(const std::string& id, const std::function<void(Job*)>& change);
  bool Remove(const std::string& id);
  void Clear();

  // The bare array of all visible jobs in the order of the settings. Counts as one list call for
  // hidden jobs.
  std::shared_ptr<const std::string> ListBody();
  // The same one by one.
  std::vector<ListItem> ListItems();
  // Throws the kept texts away: the settings have changed.
  void Rerender();

  std::vector<Job> All() const;
  size_t size() const;

 private:
  struct Entry {
    Job job;
    std::shared_ptr<const std::string> item;  // The job's text in the list; null: not made yet.
    bool shown = true;
  };

  Entry* FindEntry(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ShowDueJobs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<ListItem> ShownItems() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const LiveSettings* const settings_;
  mutable Mutex mu_;
  // Guarded by mu_.
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);  // Oldest first.
  std::unordered_map<std::string, Entry*> by_id_ ABSL_GUARDED_BY(mu_);
  std::vector<Entry*> hidden_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const std::string> list_body_ ABSL_GUARDED_BY(mu_);  // Null: to be made.
};

}  // namespace finetune::emulator
