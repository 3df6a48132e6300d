#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/fuzz/targets.h"

namespace finetune {
namespace {

// The corpus of each fuzz target, as an ordinary test.
void Replay(const std::string& name, void (*target)(std::string_view)) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(FINETUNE_SOURCE_DIR "/tests/fuzz/corpus/" + name)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream in(entry.path());
    std::ostringstream text;
    text << in.rdbuf();
    target(text.str());
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST(FuzzCorpus, OfListsIsRead) { Replay("list", FuzzList); }
TEST(FuzzCorpus, OfDetailsIsRead) { Replay("details", FuzzDetails); }
TEST(FuzzCorpus, OfWebhooksIsRead) { Replay("webhook", FuzzWebhook); }
TEST(FuzzCorpus, OfErrorsIsRead) { Replay("error", FuzzError); }

}  // namespace
}  // namespace finetune
