#include "server/web/connection_queue.h"

#include <sys/socket.h>

namespace finetune {

void ConnectionQueue::Begin(int socket) {
  MutexLock lock(mu_);
  AppendLocked(socket);
  if (sockets_.size() <= most_) return;
  const int oldest = sockets_.begin()->second;
  // The connection's own thread sees its end and closes it.
  shutdown(oldest, SHUT_RDWR);
  RemoveLocked(oldest);
}

void ConnectionQueue::Answered(int socket) {
  MutexLock lock(mu_);
  if (!turns_.contains(socket)) return;  // Cut off.
  RemoveLocked(socket);
  AppendLocked(socket);
}

void ConnectionQueue::End(int socket) {
  MutexLock lock(mu_);
  RemoveLocked(socket);
}

void ConnectionQueue::AppendLocked(int socket) {
  sockets_[++last_turn_] = socket;
  turns_[socket] = last_turn_;
}

void ConnectionQueue::RemoveLocked(int socket) {
  const auto turn = turns_.find(socket);
  if (turn == turns_.end()) return;
  sockets_.erase(turn->second);
  turns_.erase(turn);
}

}  // namespace finetune
