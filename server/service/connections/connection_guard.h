#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/base/worker.h"
#include "server/service/calls/lasting_calls.h"
#include "server/service/connections/connection_streams.h"
#include "server/service/connections/tcp_connections.h"

namespace finetune {

// Ends the connections of clients that fill the process's memory with what no call accounts for.
//
// gRPC 1.51 takes whatever a connection sends: it limits each frame of headers, but not all frames
// of one stream together (CVE-2023-33953 and the like), and it does not limit the streams of a
// client that has acknowledged no limit. All of that is in memory before this service hears of a
// call, and so before it has seen a credential. Gigabytes can come in seconds; the process is then
// killed, or aborts because it gets no more memory. gRPC's own means, a ResourceQuota, takes the
// memory back from whichever connection comes first, not from the one that filled it.
//
// So this checks 25 times a second how large the process is. Normally it does nothing else but
// learn, every ten seconds or less often, which connections there are. Only when the process has
// grown within seconds by much more than calls explain does it look at the connections: at what
// each has sent beyond what ended calls, and uploads that are being read, account for, and at how
// many streams it has open that are not an admitted watch, wait or transfer. The worst are cut
// until little is left. A client whose calls are admitted may have tens of thousands of them wait
// for their turn.
//
// Who is cut can come back at once, and the calls of a connection that is gone take gRPC longer to
// give back than new ones take to come. So while the process is large all the same, no connections
// are taken from the addresses of those that were cut and had no call admitted, for a fifth of a
// second to five seconds. Others at such an address can be told from them only by what is behind a
// connection, so they wait as long for a new one; connections that stand go on.
//
// It also keeps descriptors free for accepting, because once they are used up gRPC 1.51 never
// accepts again. When half of them are taken, connections without a lasting call are cut, a quarter
// of all descriptors at a time: first those that have never made a call, such as those whose TLS
// handshake does not end, then those that have been quiet longest. With TLS, where each of them
// holds much more memory, half of them are cut as soon as there are 3,000.
//
// It has a thread of its own ("memory-guard"). Start and Stop are for the owner; the rest is for
// that thread, and for tests.
class ConnectionGuard {
 public:
  // What it looks at and does; a seam for tests.
  struct Process {
    std::function<int64_t()> resident_bytes;
    // How many descriptors are taken at least, and without one free among them.
    std::function<int64_t()> open_files;
    std::function<void()> trim;
    std::function<std::vector<TcpConnection>()> connections;
    std::function<bool(const TcpConnection&)> cut;
    std::function<std::optional<StreamCounts>(const std::string& peer)> streams;
    // Takes no more connections from these, and from all others again.
    std::function<void(const std::vector<Source>& sources)> close_door;
    // Connections may have come since `streams` was asked last.
    std::function<void()> refresh_streams;
    // How many descriptors may be taken, and how many connections may be without a call.
    int64_t most_files = INT64_MAX;
    int64_t most_idle = INT64_MAX;
  };

  // `lasting_calls` outlives it.
  ConnectionGuard(int port, bool tls, LastingCalls& lasting_calls, Metrics& metrics);
  ConnectionGuard(Process process, LastingCalls& lasting_calls, Metrics& metrics);
  ~ConnectionGuard() { Stop(); }

  void Start();
  // Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // Looks at time `now`, and says when to look again.
  absl::Duration Look(absl::Time now);
  // Cuts connections without a call if there are too many at time `now`.
  void CutIdle(absl::Time now);

  // Whether connections from somewhere are not taken just now. Any thread.
  bool closes_door() const { return closes_door_.load(std::memory_order_relaxed); }

 private:
  // What is known of a connection, since it began.
  struct Sums {
    int64_t read_bytes = 0;
    int64_t sent_bytes = 0;
    int64_t upload_bytes = 0;
    StreamCounts streams;
  };
  struct Seen {
    // When all that it had sent was accounted for: then, and what the sums were.
    absl::Time since;
    Sums accounted;
    bool asked = false;  // In this alarm.
    bool cut = false;
    int census = 0;
  };
  struct Suspect {
    TcpConnection connection;
    bool admitted = false;  // Somebody's who may call.
    int64_t bytes = 0;      // That nothing accounts for.
    int64_t streams = 0;    // Likewise.
    int64_t cost = 0;       // The memory that they may take.
  };

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Learns which connections there are, so that it is known from when on their sums count.
  void TakeCensus(absl::Time now);
  void BeginAlarm();
  void EndAlarm(int64_t resident);
  // Cuts who is to be cut; true if there was anybody. `active`: looks only at those that have sent
  // something just now.
  bool Judge(absl::Time now, bool active);
  static int64_t UnaccountedBytes(const Sums& now, const Sums& before);
  std::optional<Suspect> Weigh(TcpConnection connection, const CallsOfPeers& calls, absl::Time now);
  void Cut(const Suspect& suspect, absl::Time now);
  // Opens the door to those that were kept out long enough.
  void OpenDoor(absl::Time now, int64_t resident);
  void SetDoor();
  // Those without a call that lasts.
  std::vector<TcpConnection> IdleConnections() const;
  // Those first that are missed least.
  void SortByWorth(std::vector<TcpConnection>& connections) const;

  const Process process_;
  LastingCalls& lasting_calls_;
  prometheus::Counter& cut_;

  // The thread's only.
  int64_t least_ = INT64_MAX;  // The smallest that the process was since it was last accepted.
  int64_t last_ = 0;
  bool alarm_ = false;
  absl::Time watchful_until_ = absl::InfinitePast();
  absl::Time trim_at_ = absl::InfiniteFuture();
  absl::Time judges_from_;
  absl::Time alarm_ends_;
  absl::Duration pause_;
  absl::Time next_cut_ = absl::InfinitePast();
  absl::Time next_census_ = absl::InfinitePast();
  int census_ = 0;
  absl::flat_hash_map<ino_t, Seen> seen_;  // By the socket.
  std::map<Source, absl::Time> kept_out_;  // When the last connection from there was cut.

  std::atomic<bool> closes_door_ = false;

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<Thread> thread_;
  Worker trimmer_{"memory-trim"};  // That takes long while others allocate.
};

}  // namespace finetune
