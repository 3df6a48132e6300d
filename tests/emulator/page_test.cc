#include "tests/emulator/page.h"

#include <gtest/gtest.h>

namespace finetune::emulator {
namespace {

std::optional<Answer> Get(const std::string& path, const std::string& method = "GET") {
  Request request;
  request.method = method;
  request.path = path;
  return PageAnswer(request);
}

TEST(Page, HasItsFilesAndLeavesTheRestToTheDoors) {
  ASSERT_TRUE(Get("/"));
  EXPECT_EQ(Get("/")->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(Get("/emulator/page/emulator.css")->content_type, "text/css; charset=utf-8");
  EXPECT_EQ(Get("/emulator/page/emulator.js")->content_type, "text/javascript; charset=utf-8");
  for (const char* path :
       {"/emulator/page/", "/emulator/page/x", "/emulator/jobs", "/finetune", "/x"})
    EXPECT_FALSE(Get(path)) << path;
  EXPECT_FALSE(Get("/", "POST"));
}

}  // namespace
}  // namespace finetune::emulator
