#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/access/authenticator.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace finetune {

// A call that may last for hours: a stream or a wait. It is ended early when its caller may no
// longer make it. Thread-safe; shared by the call and by LastingCalls.
class LastingCall {
 public:
  using End = absl::AnyInvocable<void(const absl::Status& why) &&>;

  // `context` is looked at until LastingCalls::Remove; `peer` is what it says of the other end.
  LastingCall(std::string_view method, Role least_role, const grpc::ServerContextBase& context,
              std::string peer, std::shared_ptr<const Caller> caller)
      : method_(method),
        least_role_(least_role),
        peer_(std::move(peer)),
        caller_(std::move(caller)),
        context_(&context) {}

  // It is an upload, and has read a message of that size. The first time, at the latest before it
  // is added, may be with none.
  void CountUploaded(size_t bytes) {
    uploaded_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    is_upload_.store(true, std::memory_order_relaxed);
  }

  // Sets what ends the call. It runs at most once, with no lock held, on any thread; within this
  // call if the end is due already.
  void OnRevokedDo(End end) ABSL_LOCKS_EXCLUDED(mu_);
  // Why it is to end; OK if it may go on.
  absl::Status revoked() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class LastingCalls;

  // Whether the caller may still make it.
  absl::Status Judge(Authenticator& authenticator, absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);
  void Revoke(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string method_;
  const Role least_role_;
  const std::string peer_;
  const std::shared_ptr<const Caller> caller_;

  std::atomic<bool> is_upload_ = false;
  std::atomic<int64_t> uploaded_ = 0;  // Bytes.

  mutable Mutex mu_;
  const grpc::ServerContextBase* context_ ABSL_GUARDED_BY(mu_);  // Null once it is removed.
  absl::Status revoked_ ABSL_GUARDED_BY(mu_);
  End end_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
};

// The lasting calls of one connection.
struct CallsOfPeer {
  // Whether any call of it was admitted; known only while accounts are kept.
  bool admitted = false;
  int64_t calls = 0;    // Under way.
  int64_t uploads = 0;  // Among them.
  // Read by uploads: those under way and, while accounts are kept, those that have ended.
  int64_t upload_bytes = 0;
};
using CallsOfPeers = absl::flat_hash_map<std::string, CallsOfPeer>;

// The lasting calls under way. A call whose token expires, or whose caller would see less or be
// somebody else if it called now, ends with UNAVAILABLE / ACCESS_CHANGED, so that its client calls
// again; one that would be refused now ends with that refusal. Thread-safe; what it is made with
// outlives it.
class LastingCalls {
 public:
  LastingCalls(Authenticator& authenticator, Clock& clock)
      : authenticator_(authenticator), clock_(clock) {}

  // How often JudgeAll has begun; to be read before a call is authenticated.
  uint64_t judgements() const { return judgements_; }

  // Adds a call that was admitted as `good_until` says; Remove must follow.
  void Add(const std::shared_ptr<LastingCall>& call, absl::Time good_until,
           uint64_t judgements_before) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(const std::shared_ptr<LastingCall>& call) ABSL_LOCKS_EXCLUDED(mu_);

  // To be called when what callers may do has changed. Takes as long as authenticating all of them.
  void JudgeAll() ABSL_LOCKS_EXCLUDED(mu_);

  // By what gRPC calls the other end. Takes as long as there are connections and uploads, however
  // many calls there are: others wait meanwhile to make theirs.
  CallsOfPeers ByPeer() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether, from now on, ByPeer includes what ended uploads have read, and whose calls were
  // admitted.
  void KeepAccounts(bool keep) ABSL_LOCKS_EXCLUDED(mu_);
  bool keeps_accounts() const { return keeps_accounts_.load(std::memory_order_relaxed); }
  // While it does: a call from `peer` was admitted.
  void NoteAdmitted(const std::string& peer) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void JudgeOne(LastingCall& call);

  Authenticator& authenticator_;
  Clock& clock_;
  std::atomic<uint64_t> judgements_ = 0;
  std::atomic<bool> keeps_accounts_ = false;

  Mutex mu_;
  absl::flat_hash_set<std::shared_ptr<LastingCall>> calls_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<const LastingCall*> uploads_ ABSL_GUARDED_BY(mu_);  // Among them.
  absl::flat_hash_map<std::string, int64_t> calls_by_peer_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, int64_t> ended_upload_bytes_ ABSL_GUARDED_BY(mu_);  // By peer.
  absl::flat_hash_set<std::string> admitted_ ABSL_GUARDED_BY(mu_);
};

// PERMISSION_DENIED / ROLE_NOT_ALLOWED.
absl::Status RoleNotAllowed(std::string_view method, Role needed, Role has);

}  // namespace finetune
