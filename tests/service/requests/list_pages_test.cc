#include "server/service/requests/list_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

class ListPagesTest : public testing::Test {
 protected:
  void Put(const std::string& id, int64_t created, const std::string& name = "") {
    record::FineTuneRecord job = MakeJob(id);
    job.mutable_fine_tune()->mutable_create_time()->set_seconds(created);
    job.mutable_fine_tune()->set_display_name(name.empty() ? id : name);
    ASSERT_TRUE(f_.Put(job).ok());
  }
  absl::StatusOr<pb::ListFineTunesResponse> List(const pb::ListFineTunesRequest& request) {
    Caller caller;
    caller.sees_all = true;
    auto query = pages_.Check(request, caller);
    if (!query.ok()) return query.status();
    grpc::Slice slice;
    pb::ListFineTunesResponse response;
    LongWork::Piece at_once(nullptr);
    EXPECT_TRUE(pages_.Page(*query, at_once).DumpToSingleSlice(&slice).ok());
    EXPECT_TRUE(response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    return response;
  }
  // The ids on all pages, with something done after each.
  std::vector<std::string> ListAll(
      pb::ListFineTunesRequest request, const std::function<void()>& between = [] {}) {
    std::vector<std::string> ids;
    while (true) {
      auto page = List(request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return ids;
      for (const pb::FineTune& job : page->fine_tunes()) ids.push_back(*IdOf(job.name()));
      if (page->next_page_token().empty()) return ids;
      request.set_page_token(page->next_page_token());
      between();
    }
  }
  static pb::ListFineTunesRequest Request(const std::string& order_by, int page_size = 2) {
    pb::ListFineTunesRequest request;
    request.set_order_by(order_by);
    request.set_page_size(page_size);
    return request;
  }

  JobsFixture f_;
  ListPages pages_{f_.catalog, f_.clock};
};

TEST_F(ListPagesTest, ListsTheNewestFirstWhoeverWasSeenFirst) {
  // As an import brings them: of several ages, in no order.
  Put("middle", 200);
  Put("old", 100);
  Put("new", 300);
  Put("as-old", 100);
  EXPECT_THAT(ListAll(Request("")), ElementsAre("new", "middle", "as-old", "old"));
  EXPECT_THAT(ListAll(Request(" create_time  desc ")),
              ElementsAre("new", "middle", "as-old", "old"));
  EXPECT_THAT(ListAll(Request("create_time")), ElementsAre("old", "as-old", "middle", "new"));
  // What Segmind says later puts a job where it belongs.
  Put("old", 250);
  EXPECT_THAT(ListAll(Request("")), ElementsAre("new", "old", "middle", "as-old"));
}

TEST_F(ListPagesTest, OrdersByEachField) {
  Put("a", 100, "x");
  Put("b", 200, "y");
  f_.clock.Advance(absl::Seconds(1));
  Put("c", 300, "x");
  EXPECT_THAT(ListAll(Request("display_name")), ElementsAre("a", "c", "b"));
  EXPECT_THAT(ListAll(Request("display_name desc")), ElementsAre("b", "c", "a"));
  EXPECT_THAT(ListAll(Request("display_name,create_time desc")), ElementsAre("c", "a", "b"));
  EXPECT_THAT(ListAll(Request("update_time desc, create_time")), ElementsAre("c", "a", "b"));
}

TEST_F(ListPagesTest, RefusesAnOrderThatItDoesNotKnow) {
  for (const char* order :
       {"state", "create_time asc", "create_time desc desc", ",", "create_time,",
        "create_time, create_time desc", "CREATE_TIME", "create_time;"}) {
    const absl::Status status = List(Request(order)).status();
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD) << order;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("order_by")) << order;
  }
  EXPECT_FALSE(List(Request(std::string(1'000, 'x'))).ok());
}

TEST_F(ListPagesTest, ATokenIsForItsOrderAndFilter) {
  for (int i = 0; i < 5; ++i) Put(std::to_string(i), i);
  auto request = Request("display_name");
  const std::string token = List(request)->next_page_token();
  for (const char* order : {"", "display_name desc", "update_time"}) {
    auto other = Request(order);
    other.set_page_token(token);
    EXPECT_EQ(ReasonOf(List(other).status()), pb::ErrorReason::PAGE_TOKEN_INVALID) << order;
  }
  request.set_page_token(token);
  EXPECT_TRUE(List(request).ok());
  request.set_order_by("  display_name  ");
  EXPECT_TRUE(List(request).ok()) << "the same order, written otherwise";
  request.set_filter("state = QUEUED");
  EXPECT_EQ(ReasonOf(List(request).status()), pb::ErrorReason::PAGE_TOKEN_INVALID);
}

// Whatever changes meanwhile, jobs that stay where they are are neither skipped nor repeated.
TEST_F(ListPagesTest, PagesNeitherSkipNorRepeatAJobThatStays) {
  std::mt19937 random(3);
  const std::vector<std::string> orders = {"", "create_time", "display_name",
                                           "display_name desc, create_time",
                                           "create_time, display_name desc"};
  for (unsigned round = 0; round < 40; ++round) {
    const std::string stays = absl::StrCat("stays-", round, "-");
    for (int i = 0; i < 30; ++i) {
      Put(stays + std::to_string(i), static_cast<int64_t>(random() % 10),
          absl::StrCat("n", random() % 10));
    }
    auto request = Request(orders[round % orders.size()], 1 + static_cast<int>(random() % 7));
    if (random() % 2 == 0) request.set_filter("display_name:n");
    int moves = 0;
    const std::vector<std::string> ids = ListAll(request, [&] {
      // Comes, moves, or goes.
      const std::string id = absl::StrCat("moves-", random() % 20);
      if (++moves > 200) return;
      if (random() % 4 == 0) {
        ASSERT_TRUE(f_.Run([&](Draft& draft) {
                        draft.Forget(id);
                        return absl::OkStatus();
                      }).ok());
      } else {
        Put(id, static_cast<int64_t>(random() % 10), absl::StrCat("n", random() % 10));
      }
    });
    std::vector<std::string> seen;
    for (const std::string& id : ids) {
      if (id.starts_with(stays)) seen.push_back(id);
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end()) << round << ": repeated";
    EXPECT_EQ(seen.size(), 30u) << round << ": skipped";
    ASSERT_TRUE(f_.Run([&](Draft& draft) {
                    for (int i = 0; i < 30; ++i) draft.Forget(stays + std::to_string(i));
                    return absl::OkStatus();
                  }).ok());
  }
}

TEST_F(ListPagesTest, OnlyAnOrderThatIsNotKeptLooksAtEachJob) {
  ASSERT_TRUE(f_.Run([&](Draft& draft) {
                  for (int i = 0; i < 10'001; ++i) draft.Put(MakeJob(std::to_string(i)));
                  return absl::OkStatus();
                }).ok());
  Caller caller;
  caller.sees_all = true;
  const auto takes_long = [&](const pb::ListFineTunesRequest& request) {
    return pages_.CostOf(*pages_.Check(request, caller)) >= 10'000;
  };
  EXPECT_FALSE(takes_long(Request("")));
  EXPECT_FALSE(takes_long(Request("create_time")));
  EXPECT_TRUE(takes_long(Request("display_name")));
  ASSERT_TRUE(List(Request("display_name")).ok());
  EXPECT_FALSE(takes_long(Request("display_name"))) << "it is made already";
}

}  // namespace
}  // namespace finetune
