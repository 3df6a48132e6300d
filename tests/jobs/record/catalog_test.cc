#include "server/jobs/record/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "server/base/error.h"

namespace finetune {
namespace {

constexpr char kEpoch[] = "0123456789abcdef";
constexpr uint64_t kEra = 42;

record::FineTuneRecord Job(const std::string& id, uint64_t revision, uint64_t first_revision,
                           pb::FineTune::State state = pb::FineTune::QUEUED) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name(NameOf(id));
  record.mutable_fine_tune()->set_revision(revision);
  record.mutable_fine_tune()->set_state(state);
  record.set_first_revision(first_revision);
  return record;
}

ChangePtr MakeChange(const record::FineTuneRecord& after, VersionPtr before, absl::Time time) {
  const uint64_t revision = after.fine_tune().revision();
  return std::make_shared<VersionChange>(MakeVersion(after), std::move(before), time,
                                         EncodeResumeToken({kEpoch, kEra, revision}));
}

// What a catalog must show, kept in the simplest way.
class Model {
 public:
  explicit Model(Catalog::Options options) : options_(options) {}

  ChangePtr MakeRandomChange(std::mt19937& random, absl::Time time) {
    ++revision_;
    std::string id;
    if (ids_.empty() || random() % 3 == 0) {
      id = std::to_string(made_++);
      ids_.push_back(id);
    } else {
      id = ids_[random() % ids_.size()];
    }
    VersionPtr before = jobs_.contains(id) ? jobs_[id] : nullptr;
    if (before != nullptr && random() % 8 == 0) return Forget(before, time);
    auto job = Job(id, revision_, before ? before->first_revision : revision_,
                   static_cast<pb::FineTune::State>(1 + random() % 9));
    // Segmind's names come late, go and change; no two jobs share one.
    if (random() % 2 == 0) {
      job.mutable_fine_tune()->set_upstream_id(absl::StrCat("u", id, "-", random() % 3));
    }
    if (random() % 2 == 0) job.set_upstream_request_id(absl::StrCat("r", id, "-", random() % 3));
    // Many at the same time, and not for good.
    job.mutable_fine_tune()->mutable_create_time()->set_seconds(
        before == nullptr || random() % 4 == 0 ? 1 + random() % 20
                                               : absl::ToUnixSeconds(before->create_time));
    ChangePtr change = MakeChange(job, before, time);
    jobs_[id] = change->after();
    log_.push_back(change);
    return change;
  }

  void Check(const Catalog& catalog, std::mt19937& random) const {
    const ViewPtr view = catalog.view();
    ASSERT_EQ(view->revision(), revision_);
    ASSERT_EQ(view->size(), ids_.size());
    size_t active = 0;
    for (size_t i = 0; i < ids_.size(); ++i) {
      const VersionPtr& version = jobs_.at(ids_[i]);
      active += version->active();
      ASSERT_EQ(view->at(i), version);
      ASSERT_EQ(catalog.Find(ids_[i]), version);
      ASSERT_EQ(view->LowerBound(version->first_revision), i);
      for (int k = 0; k < 3; ++k) {
        const std::string upstream = absl::StrCat("u", ids_[i], "-", k);
        const std::string request = absl::StrCat("r", ids_[i], "-", k);
        ASSERT_EQ(catalog.FindUpstream(upstream),
                  version->upstream_id == upstream ? version : nullptr);
        ASSERT_EQ(catalog.FindUpstream(request),
                  version->upstream_request_id == request ? version : nullptr);
      }
    }
    ASSERT_EQ(view->active(), active);
    CheckOrder(*view);
    ASSERT_EQ(view->LowerBound(revision_ + 1), view->size());
    CheckWindow(catalog, random);
  }

 private:
  ChangePtr Forget(const VersionPtr& before, absl::Time time) {
    record::FineTuneRecord last = ToRecord(*before);
    last.mutable_fine_tune()->set_revision(revision_);
    ChangePtr change = std::make_shared<VersionChange>(MakeVersion(last), before, time,
                                                       EncodeResumeToken({kEpoch, kEra, revision_}),
                                                       /*forgotten=*/true);
    ids_.erase(std::find(ids_.begin(), ids_.end(), before->id));
    jobs_.erase(before->id);
    log_.push_back(change);
    return change;
  }
  void CheckOrder(const CatalogView& view) const {
    std::vector<VersionPtr> sorted;
    for (const auto& [id, version] : jobs_) sorted.push_back(version);
    std::sort(sorted.begin(), sorted.end(), [](const VersionPtr& a, const VersionPtr& b) {
      return ByCreateTime::Of(*a) < ByCreateTime::Of(*b);
    });
    ASSERT_EQ(view.by_create_time().size(), sorted.size());
    for (size_t i = 0; i < sorted.size(); ++i) {
      ASSERT_EQ(view.by_create_time().at(i), sorted[i]);
      ASSERT_EQ(view.by_create_time().LowerBound(ByCreateTime::Of(*sorted[i])), i);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const VersionPtr& a, const VersionPtr& b) { return a->revision < b->revision; });
    ASSERT_EQ(view.by_revision().size(), sorted.size());
    for (size_t i = 0; i < sorted.size(); ++i) {
      ASSERT_EQ(view.by_revision().at(i), sorted[i]);
      ASSERT_EQ(view.by_revision().LowerBound(sorted[i]->revision), i);
    }
  }
  void CheckWindow(const Catalog& catalog, std::mt19937& random) const {
    uint64_t start = revision_;
    while (start > 0 && revision_ - start < options_.window_changes &&
           log_[start - 1]->time() >= log_.back()->time() - options_.window_age) {
      --start;
    }
    ASSERT_EQ(catalog.window_start(), start);
    ASSERT_EQ(catalog.ChangesAfter(revision_ + 1), std::nullopt);
    if (start > 0) ASSERT_EQ(catalog.ChangesAfter(start - 1), std::nullopt);
    for (uint64_t from : {start, revision_, start + random() % (revision_ - start + 1)}) {
      const size_t limit = random() % 2 == 0 ? SIZE_MAX : random() % 5;
      auto changes = catalog.ChangesAfter(from, limit);
      ASSERT_TRUE(changes.has_value());
      ASSERT_EQ(changes->size(), std::min<size_t>(limit, revision_ - from));
      for (size_t i = 0; i < changes->size(); ++i) ASSERT_EQ((*changes)[i], log_[from + i]);
    }
  }

  const Catalog::Options options_;
  uint64_t revision_ = 0;
  int made_ = 0;
  std::vector<std::string> ids_;
  std::map<std::string, VersionPtr> jobs_;
  std::vector<ChangePtr> log_;
};

TEST(Catalog, AgreesWithASimpleModelOverRandomHistories) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Catalog::Options options;
    options.window_changes = 1 + random() % 200;
    options.window_age = absl::Seconds(random() % 100);
    Metrics metrics;
    Catalog catalog(options, metrics);
    StoreState empty;
    empty.epoch = kEpoch;
    ASSERT_TRUE(catalog.Load(empty).ok());
    Model model(options);
    absl::Time now = absl::FromUnixSeconds(1'000);
    for (int step = 0; step < 60; ++step) {
      now += absl::Seconds(random() % 10);
      const ViewPtr old = catalog.view();
      const uint64_t old_revision = old->revision();
      const VersionPtr old_first = old->size() > 0 ? old->at(0) : nullptr;
      std::vector<ChangePtr> changes;
      for (size_t n = 1 + random() % 60; n > 0; --n) {
        changes.push_back(model.MakeRandomChange(random, now));
      }
      catalog.Apply(changes);
      ASSERT_EQ(old->revision(), old_revision) << "a view never changes";
      if (old_first != nullptr) ASSERT_EQ(old->at(0), old_first);
      if (step % 5 == 0) model.Check(catalog, random);
      if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", step " << step;
    }
  }
}

TEST(Catalog, LoadsJobsAndTheWindowFromTheStore) {
  StoreState state;
  state.epoch = kEpoch;
  state.lineage = Lineage({Era{.id = kEra}});
  state.point = {kEra, 9, 1003};
  for (uint64_t i = 1; i <= 1000; ++i) {
    const bool changed = i == 5;
    state.records.push_back(
        SerialiseRecord(Job(std::to_string(i), changed ? 1003 : i, i, pb::FineTune::AVAILABLE)));
  }
  std::string before = SerialiseRecord(Job("5", 5, 5));
  for (uint64_t revision = 1001; revision <= 1003; ++revision) {
    std::string after = SerialiseRecord(Job("5", revision, 5, pb::FineTune::AVAILABLE));
    state.changes.push_back(
        {revision, absl::FromUnixSeconds(static_cast<int64_t>(revision)), "5", after, before});
    before = after;
  }
  Metrics metrics;
  Catalog catalog({}, metrics);
  ASSERT_TRUE(catalog.Load(state).ok());
  EXPECT_EQ(catalog.epoch(), kEpoch);
  EXPECT_EQ(catalog.view()->size(), 1000u);
  EXPECT_EQ(catalog.view()->active(), 0u);
  EXPECT_EQ(catalog.window_start(), 1000u);
  auto changes = catalog.ChangesAfter(1000);
  ASSERT_TRUE(changes.has_value());
  ASSERT_EQ(changes->size(), 3u);
  EXPECT_EQ((*changes)[0]->before()->revision, 5u);
  EXPECT_EQ((*changes)[1]->before(), (*changes)[0]->after()) << "shared, not parsed twice";
  EXPECT_EQ(DecodeResumeToken((*changes)[2]->resume_token())->revision, 1003u);
  EXPECT_EQ((*changes)[0]->time(), absl::FromUnixSeconds(1001));

  state.records[17] = "not a record";
  Catalog damaged({}, metrics);
  EXPECT_TRUE(absl::IsDataLoss(damaged.Load(state)));
}

TEST(Catalog, ObserveTimeNeverGoesBack) {
  Metrics metrics;
  Catalog catalog({}, metrics);
  EXPECT_EQ(catalog.observe_time(), absl::InfinitePast());
  catalog.SetObserveTime(absl::FromUnixSeconds(10));
  catalog.SetObserveTime(absl::FromUnixSeconds(5));
  EXPECT_EQ(catalog.observe_time(), absl::FromUnixSeconds(10));
}

TEST(Catalog, ReadersSeeWholeBatchesOnly) {
  Metrics metrics;
  Catalog catalog({}, metrics);
  StoreState empty;
  empty.epoch = kEpoch;
  ASSERT_TRUE(catalog.Load(empty).ok());
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop) {
      const ViewPtr view = catalog.view();
      EXPECT_EQ(view->revision() % 3, 0u);
      EXPECT_EQ(view->size(), view->revision());
      EXPECT_GE(view->revision(), last);
      last = view->revision();
      auto changes = catalog.ChangesAfter(last);
      if (changes && !changes->empty()) EXPECT_EQ(changes->front()->revision(), last + 1);
    }
  });
  for (uint64_t revision = 1; revision < 1500; revision += 3) {
    std::vector<ChangePtr> changes;
    for (uint64_t i = revision; i < revision + 3; ++i) {
      changes.push_back(MakeChange(Job(std::to_string(i), i, i), nullptr, absl::Now()));
    }
    catalog.Apply(changes);
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace finetune
