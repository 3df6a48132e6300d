#include "server/service/calls/lasting_calls.h"

#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

absl::Status AccessChanged(std::string_view why) {
  thread_local absl::BitGen random;
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::ACCESS_CHANGED, why)
      .RetryAfter(absl::Milliseconds(absl::Uniform(random, 100, 1000)));
}

}  // namespace

absl::Status RoleNotAllowed(std::string_view method, Role needed, Role has) {
  const auto name_of = [](Role role) {
    return pb::CallerIdentity::Role_Name(static_cast<pb::CallerIdentity::Role>(role));
  };
  return Error(absl::StatusCode::kPermissionDenied, pb::ErrorReason::ROLE_NOT_ALLOWED,
               absl::StrCat(std::string(method), " needs the role ", name_of(needed),
                            ", and yours is ", name_of(has)));
}

void LastingCall::OnRevokedDo(End end) {
  absl::Status why;
  {
    MutexLock lock(mu_);
    if (context_ == nullptr) return;
    why = revoked_;
    if (why.ok()) {
      end_ = std::move(end);
      return;
    }
  }
  std::move(end)(why);
}

absl::Status LastingCall::revoked() const {
  MutexLock lock(mu_);
  return revoked_;
}

absl::Status LastingCall::Judge(Authenticator& authenticator, absl::Time now) const {
  absl::StatusOr<Admission> admission = absl::UnavailableError("the call is over");
  {
    MutexLock lock(mu_);
    if (context_ != nullptr) admission = authenticator.Authenticate(*context_, now);
  }
  // What cannot be judged yet is judged when the keys arrive, which is another change.
  if (absl::IsUnavailable(admission.status())) return absl::OkStatus();
  if (!admission.ok()) return admission.status();
  if (admission->caller->role < least_role_)
    return RoleNotAllowed(method_, least_role_, admission->caller->role);
  if (admission->caller->identity != caller_->identity)
    return AccessChanged("the policy knows you by another name now: call again");
  if (caller_->sees_all && !admission->caller->sees_all)
    return AccessChanged("you see fewer jobs than before: call again");
  return absl::OkStatus();
}

void LastingCall::Revoke(const absl::Status& why) {
  End end;
  {
    MutexLock lock(mu_);
    if (context_ == nullptr || !revoked_.ok()) return;
    revoked_ = why;
    end = std::move(end_);
    end_ = nullptr;
  }
  if (end) std::move(end)(why);
}

void LastingCalls::Add(const std::shared_ptr<LastingCall>& call, absl::Time good_until,
                       uint64_t judgements_before) {
  {
    MutexLock lock(mu_);
    calls_.insert(call);
    ++calls_by_peer_[call->peer_];
    if (call->is_upload_) uploads_.insert(call.get());
  }
  if (good_until != absl::InfiniteFuture()) {
    const Clock::TimerId timer =
        clock_.RunAt(clock_.FromWall(good_until), [weak = std::weak_ptr<LastingCall>(call)] {
          if (auto one = weak.lock())
            one->Revoke(AccessChanged("your token has ended: call again with a new one"));
        });
    MutexLock lock(call->mu_);
    call->timer_ = timer;
  }
  // The policy may have changed between the call's authentication and now.
  if (judgements_ != judgements_before) JudgeOne(*call);
}

void LastingCalls::Remove(const std::shared_ptr<LastingCall>& call) {
  {
    MutexLock lock(mu_);
    if (calls_.erase(call) > 0) {
      const auto of_peer = calls_by_peer_.find(call->peer_);
      if (--of_peer->second == 0) calls_by_peer_.erase(of_peer);
    }
    if (uploads_.erase(call.get()) > 0 && keeps_accounts_)
      ended_upload_bytes_[call->peer_] += call->uploaded_;
  }
  LastingCall::End end;  // Dropped after the lock.
  Clock::TimerId timer;
  {
    MutexLock lock(call->mu_);
    call->context_ = nullptr;
    end = std::move(call->end_);
    call->end_ = nullptr;
    timer = call->timer_;
  }
  clock_.Cancel(timer);
}

CallsOfPeers LastingCalls::ByPeer() {
  CallsOfPeers by_peer;
  MutexLock lock(mu_);
  for (const auto& [peer, bytes] : ended_upload_bytes_) by_peer[peer].upload_bytes = bytes;
  for (const std::string& peer : admitted_) by_peer[peer].admitted = true;
  for (const auto& [peer, calls] : calls_by_peer_) by_peer[peer].calls = calls;
  for (const LastingCall* upload : uploads_) {
    CallsOfPeer& of_peer = by_peer[upload->peer_];
    ++of_peer.uploads;
    of_peer.upload_bytes += upload->uploaded_;
  }
  return by_peer;
}

void LastingCalls::KeepAccounts(bool keep) {
  MutexLock lock(mu_);
  keeps_accounts_ = keep;
  ended_upload_bytes_.clear();
  admitted_.clear();
}

void LastingCalls::NoteAdmitted(const std::string& peer) {
  MutexLock lock(mu_);
  if (keeps_accounts_) admitted_.insert(peer);
}

void LastingCalls::JudgeAll() {
  ++judgements_;
  std::vector<std::shared_ptr<LastingCall>> all;
  {
    MutexLock lock(mu_);
    all.assign(calls_.begin(), calls_.end());
  }
  for (const auto& call : all) JudgeOne(*call);
}

void LastingCalls::JudgeOne(LastingCall& call) {
  if (absl::Status verdict = call.Judge(authenticator_, clock_.WallNow()); !verdict.ok())
    call.Revoke(verdict);
}

}  // namespace finetune
