#include "server/access/authenticator.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(OpenAuthenticator, LetsEveryoneDoEverything) {
  grpc::CallbackServerContext context;
  auto caller = MakeOpenAuthenticator()->Authenticate(context, absl::InfinitePast());
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->caller->identity, "");
  EXPECT_EQ(caller->caller->role, Role::kAdmin);
  EXPECT_TRUE(caller->caller->sees_all);
}

}  // namespace
}  // namespace finetune
