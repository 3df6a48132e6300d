#include "client/cpp/session.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace finetune::inline client {
namespace {

using grpc::experimental::InterceptionHookPoints;

constexpr char kSession[] = "finetune-session";
constexpr char kSessionLost[] = "finetune-session-lost";

class SessionInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit SessionInterceptor(std::shared_ptr<Session> session) : session_(std::move(session)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA))
      batch->GetSendInitialMetadata()->emplace(kSession, session_->token());
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      const auto* metadata = batch->GetRecvInitialMetadata();
      if (metadata == nullptr) return batch->Proceed();
      if (const auto found = metadata->find(kSession); found != metadata->end()) {
        session_->Take({found->second.data(), found->second.size()},
                       metadata->find(kSessionLost) != metadata->end());
      }
    }
    batch->Proceed();
  }

 private:
  const std::shared_ptr<Session> session_;
};

class SessionInterceptors : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* call) override {
    // Streams have resume points of their own, and many messages.
    if (call->type() != grpc::experimental::ClientRpcInfo::Type::UNARY) return nullptr;
    return new SessionInterceptor(session_);  // gRPC deletes it.
  }

 private:
  const std::shared_ptr<Session> session_ = std::make_shared<Session>();
};

}  // namespace

std::string Session::token() const {
  ClientLock lock(mu_);
  return token_;
}

void Session::Take(const std::string& token, bool lost) {
  uint64_t number = 0;
  const absl::string_view text = token;
  if (!absl::SimpleAtoi(text.substr(0, text.find('.')), &number)) return;
  ClientLock lock(mu_);
  if (!lost && number < number_) return;
  number_ = number;
  token_ = token;
}

std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> MakeSessionInterceptors() {
  return std::make_unique<SessionInterceptors>();
}

}  // namespace finetune::inline client
