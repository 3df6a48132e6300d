#include "server/base/reread_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RereadFilesTest : public testing::Test {
 protected:
  RereadFilesTest() {
    std::string name = testing::TempDir() + "/reread-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~RereadFilesTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
  }

  // Two files that must begin with the same letter; "later" is good only once `later_is_good_`.
  absl::Status Take(RereadFiles::Read read) {
    auto a = read(Path("a"));
    if (!a.ok()) return a.status();
    auto b = read(Path("b"));
    if (!b.ok()) return b.status();
    if (a->empty() || b->empty() || a->front() != b->front())
      return absl::InvalidArgumentError("they are no pair");
    if (*a == "later" && !later_is_good_) return absl::UnavailableError("not yet");
    taken_.push_back(absl::StrCat(*a, "+", *b));
    return absl::OkStatus();
  }

  double Metric(const std::string& name, const std::string& outcome = "") {
    for (const auto& family : metrics_.registry()->Collect()) {
      for (const auto& metric : family.metric)
        if (family.name == name && (outcome.empty() || metric.label[1].value == outcome))
          return metric.gauge.value + metric.counter.value;
    }
    return -1;
  }
  double refused_now() { return Metric("finetune_gateway_files_refused"); }
  double refused() { return Metric("finetune_gateway_file_rereads_total", "refused"); }

  std::filesystem::path folder_;
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
  bool later_is_good_ = false;
  std::vector<std::string> taken_;
  std::shared_ptr<RereadFiles> files_ =
      rereader_.Add("pair", [this](RereadFiles::Read read) { return Take(read); });
};

TEST_F(RereadFilesTest, AreTakenWhenATextChangesAndOnlyThen) {
  Write("a", "x1");
  Write("b", "x2");
  ASSERT_TRUE(files_->Open().ok());
  rereader_.LookNow();
  Write("a", "x1");  // Another time on the file, the same text.
  rereader_.LookNow();
  EXPECT_THAT(taken_, ElementsAre("x1+x2"));
  const auto before = std::filesystem::last_write_time(Path("b"));
  Write("b", "x3");  // Another text of the same length under the same time.
  std::filesystem::last_write_time(Path("b"), before);
  rereader_.LookNow();
  EXPECT_THAT(taken_, ElementsAre("x1+x2", "x1+x3"));
  EXPECT_EQ(refused(), 0);
}

TEST_F(RereadFilesTest, StayAsTheyWereWhileTheFilesAreBad) {
  Write("a", "x");
  Write("b", "x");
  ASSERT_TRUE(files_->Open().ok());
  taken_.clear();
  Write("a", "");
  rereader_.LookNow();
  rereader_.LookNow();
  EXPECT_EQ(refused_now(), 1);
  EXPECT_EQ(refused(), 1) << "one change, however often it is looked at";
  Write("a", "y");
  rereader_.LookNow();
  EXPECT_EQ(refused(), 2);
  Write("a", "x");  // Back to what is in force.
  rereader_.LookNow();
  EXPECT_EQ(refused_now(), 0);
  EXPECT_THAT(taken_, ElementsAre("x+x"));
}

TEST_F(RereadFilesTest, AreReadAgainOnceTheyCanBeRead) {
  Write("a", "x");
  Write("b", "x");
  ASSERT_TRUE(files_->Open().ok());
  taken_.clear();
  for (const bool is_folder : {false, true}) {
    std::filesystem::remove(Path("b"));
    if (is_folder) std::filesystem::create_directory(Path("b"));
    rereader_.LookNow();
    EXPECT_EQ(refused_now(), 1);
    EXPECT_THAT(taken_, IsEmpty());
    std::filesystem::remove(Path("b"));
    Write("b", is_folder ? "x3" : "x2");
    rereader_.LookNow();
    EXPECT_EQ(refused_now(), 0);
    EXPECT_THAT(taken_, ElementsAre(is_folder ? "x+x3" : "x+x2"));
    taken_.clear();
  }
}

TEST_F(RereadFilesTest, AreTriedAgainUnchangedWhereTimeAloneIsMissing) {
  Write("a", "x");
  Write("b", "x");
  ASSERT_TRUE(files_->Open().ok());
  Write("a", "later");
  Write("b", "l");
  rereader_.LookNow();
  rereader_.LookNow();
  EXPECT_EQ(refused_now(), 1);
  EXPECT_EQ(refused(), 1);
  later_is_good_ = true;
  rereader_.LookNow();
  EXPECT_EQ(refused_now(), 0);
  EXPECT_THAT(taken_, ElementsAre("x+x", "later+l"));
}

TEST_F(RereadFilesTest, AreNotReadBeforeTheirFirstReadingOrAfterStop) {
  rereader_.LookNow();
  EXPECT_EQ(files_->Open().code(), absl::StatusCode::kInvalidArgument);
  Write("a", "x");
  Write("b", "x");
  ASSERT_TRUE(files_->Open().ok());
  files_->Stop();
  Write("a", "x2");
  rereader_.LookNow();
  files_->LookAnew();
  EXPECT_THAT(taken_, ElementsAre("x+x"));
}

TEST_F(RereadFilesTest, AreTakenAnewForWhatElseTheyDependOn) {
  Write("a", "x");
  Write("b", "x");
  ASSERT_TRUE(files_->Open().ok());
  files_->LookAnew();
  EXPECT_THAT(taken_, ElementsAre("x+x", "x+x"));
}

TEST_F(RereadFilesTest, KeepWhatCameThroughAPipe) {
  ASSERT_EQ(mkfifo(Path("a").c_str(), 0600), 0);
  Write("b", "x");
  std::thread writer([this] { std::ofstream(Path("a")) << "xpipe"; });
  ASSERT_TRUE(files_->Open().ok());
  writer.join();
  Write("b", "x2");
  rereader_.LookNow();
  EXPECT_THAT(taken_, ElementsAre("xpipe+x", "xpipe+x2"));
}

TEST_F(RereadFilesTest, AreLookedAtEverySecond) {
  Write("a", "x");
  Notification taken;
  bool first = true;
  auto files = rereader_.Add("one", [&](RereadFiles::Read read) {
    auto text = read(Path("a"));
    if (!std::exchange(first, false)) taken.Notify();
    return text.status();
  });
  ASSERT_TRUE(files->Open().ok());
  Write("a", "y");
  clock_.Advance(absl::Seconds(1));
  taken.WaitForNotification();
}

}  // namespace
}  // namespace finetune
