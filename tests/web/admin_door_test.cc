#include "server/web/admin_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::HasSubstr;

TEST(AdminDoor, ShowsMetricsAndProbes) {
  Metrics metrics;
  metrics.Counter("things_total", "Things.").Increment();
  absl::Status live, ready = absl::UnavailableError("draining");
  AdminDoor door(
      metrics, [] {}, [&] { return live; }, [&] { return ready; });
  EXPECT_THAT(door.Take({"GET", "/metrics"}).body, HasSubstr("things_total 1"));
  EXPECT_EQ(door.Take({"GET", "/livez"}).code, 200);
  EXPECT_EQ(door.Take({"GET", "/readyz"}).code, 503);
  EXPECT_EQ(door.Take({"GET", "/readyz"}).body, "draining\n");
  EXPECT_EQ(door.Take({"POST", "/readyz"}).code, 405);
  EXPECT_EQ(door.Take({"GET", "/"}).code, 404);
}

TEST(AdminDoor, LeavesWhatIsNotItsOwnToThePage) {
  class Page : public WebDoor {
   public:
    std::optional<WebReply> Judge(const WebRequest& request) override { return Take(request); }
    WebReply Take(const WebRequest&) override { return {.body = "the page"}; }
  };
  Page page;
  Metrics metrics;
  AdminDoor door(
      metrics, [] {}, [] { return absl::OkStatus(); }, [] { return absl::OkStatus(); }, &page);
  EXPECT_EQ(door.Take({"GET", "/"}).body, "the page");
  EXPECT_EQ(door.Take({"GET", "/livez"}).body, "ok\n");
}

}  // namespace
}  // namespace finetune
