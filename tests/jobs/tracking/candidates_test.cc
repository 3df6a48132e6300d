#include "server/jobs/tracking/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

Candidate Job(const std::string& id, uint64_t read) {
  Candidate candidate;
  candidate.job.id = id;
  candidate.job.status = "QUEUED";
  candidate.job.fields.set_theme("subject");
  candidate.shown_read = candidate.read = read;
  return candidate;
}

TEST(Candidates, JoinWhatListsAndDetailsTell) {
  Candidates candidates(absl::Minutes(2));
  candidates.Add({Job("a", 5)});
  UpstreamJob details;
  details.id = "a";
  details.status = "TRAINING";
  details.fields.set_instance_prompt("prompt");
  details.from_details = true;
  candidates.TakeDetails("a", details, 7, absl::UnixEpoch());
  candidates.TakeDetails("b", details, 7, absl::UnixEpoch());
  candidates.Add({Job("a", 9)});
  const auto all = candidates.Snapshot();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].job.status, "QUEUED") << "the latest";
  EXPECT_EQ(all[0].job.fields.theme(), "subject");
  EXPECT_EQ(all[0].job.fields.instance_prompt(), "prompt");
  EXPECT_TRUE(all[0].details_read);
  EXPECT_EQ(all[0].shown_read, 5u);
  EXPECT_EQ(all[0].read, 9u);
}

TEST(Candidates, PutOffDetailsThatCannotBeReadAndWaitForThemForAWhile) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  Candidates candidates(absl::Minutes(2));
  candidates.Add({Job("a", 1), Job("b", 2)});
  candidates.TakeNoDetails("a", /*for_good=*/true, now);
  candidates.TakeNoDetails("b", /*for_good=*/false, now);
  EXPECT_TRUE(candidates.Snapshot()[0].details_put_off);
  EXPECT_FALSE(candidates.Snapshot()[1].details_put_off) << "tried again at once";
  candidates.TakeNoDetails("b", false, now);
  candidates.TakeNoDetails("b", false, now);
  EXPECT_TRUE(candidates.Snapshot()[1].details_put_off);
  for (const Candidate& one : candidates.Snapshot())
    EXPECT_FALSE(one.details_read) << "it may be anybody's";
  candidates.AskAgain();
  for (const Candidate& one : candidates.Snapshot()) EXPECT_FALSE(one.details_put_off);

  candidates.TakeNoDetails("a", true, now + absl::Minutes(2));
  EXPECT_TRUE(candidates.Snapshot()[0].details_read) << "not for ever";
  candidates.AskAgain();
  EXPECT_FALSE(candidates.Snapshot()[0].details_read) << "nobody knows what it is";
  candidates.TakeDetails("a", UpstreamJob(), 7, absl::UnixEpoch());
  EXPECT_TRUE(candidates.Snapshot()[0].details_read);
  candidates.AskAgain();
  EXPECT_TRUE(candidates.Snapshot()[0].details_read);
}

TEST(Candidates, ForgetWhatIsDecidedAndWhatListsNoLongerHave) {
  Candidates candidates(absl::Minutes(2));
  candidates.Add({Job("a", 1), Job("b", 2), Job("c", 3), Job("d", 4)});
  SearchResult result;
  result.adopted = {"a"};
  result.dropped = {"b"};
  candidates.Take(result, /*of_list=*/true);
  candidates.KeepOnly([](const std::string& id) { return id == "d"; });
  ASSERT_EQ(candidates.Snapshot().size(), 1u);
  EXPECT_TRUE(candidates.Has("d"));
}

TEST(Candidates, RememberWhatWasDroppedOfThisRecordAlone) {
  Candidates candidates(absl::Minutes(2));
  candidates.ForgetDropped(/*loads=*/1);
  SearchResult result;
  result.loads = 1;
  result.dropped = {"a"};
  candidates.Take(result, true);
  EXPECT_THAT(*candidates.dropped(), testing::ElementsAre("a"));
  // A record that lost commits may have to find again what it had found.
  candidates.ForgetDropped(/*loads=*/2);
  EXPECT_THAT(*candidates.dropped(), testing::IsEmpty());
  candidates.Take(result, true);
  EXPECT_THAT(*candidates.dropped(), testing::IsEmpty()) << "it was searched in the one before";
}

// Jobs that were dropped may be it, and it is decided about only after a whole list.
TEST(Candidates, CompareASubmissionThatWasBroughtBackWithAllJobsOfTheNextList) {
  Candidates candidates(absl::Minutes(2));
  SearchResult result;
  result.dropped = {"a"};
  result.uncompared = {"lost"};
  candidates.Take(result, /*of_list=*/false);
  EXPECT_THAT(*candidates.compared_by_next_list(), testing::IsEmpty()) << "that was no list";
  candidates.Take(result, /*of_list=*/true);
  EXPECT_THAT(*candidates.dropped(), testing::IsEmpty());
  EXPECT_THAT(*candidates.compared_by_next_list(), testing::ElementsAre("lost"));
  EXPECT_THAT(*candidates.compared(), testing::IsEmpty()) << "the list is still to come";
  candidates.Take(SearchResult(), /*of_list=*/true);
  EXPECT_THAT(*candidates.compared(), testing::ElementsAre("lost"));
  candidates.ForgetDropped(/*loads=*/1);
  EXPECT_THAT(*candidates.compared(), testing::IsEmpty());
  EXPECT_THAT(*candidates.compared_by_next_list(), testing::IsEmpty());
}

TEST(Candidates, TellOfAnUndecidedSubmissionOnceUntilItIsDecided) {
  Candidates candidates(absl::Minutes(2));
  SearchResult undecided;
  undecided.undecided.emplace_back().intent.set_fine_tune_id("s");
  candidates.Take(undecided, true);
  EXPECT_TRUE(candidates.IsNews("s"));
  candidates.Take(undecided, true);
  EXPECT_FALSE(candidates.IsNews("s"));
  candidates.Take(SearchResult(), true);
  EXPECT_FALSE(candidates.IsNews("s")) << "it waits for details that could not be read";
  SearchResult decided;
  decided.settled.push_back("s");
  candidates.Take(decided, true);
  EXPECT_TRUE(candidates.IsNews("s"));
}

}  // namespace
}  // namespace finetune
