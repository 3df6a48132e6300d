#include "server/access/authenticator.h"

namespace finetune {
namespace {

class OpenAuthenticator : public Authenticator {
 public:
  absl::StatusOr<std::shared_ptr<const Caller>> Authenticate(
      const grpc::ServerContextBase&) override {
    return everyone_;
  }

 private:
  const std::shared_ptr<const Caller> everyone_ = std::make_shared<const Caller>(
      Caller{.identity = "", .role = Role::kAdmin, .sees_all = true});
};

}  // namespace

std::unique_ptr<Authenticator> MakeOpenAuthenticator() {
  return std::make_unique<OpenAuthenticator>();
}

}  // namespace finetune
