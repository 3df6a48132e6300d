#include "server/service/connections/connection_guard.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "server/base/log.h"
#include "server/service/connections/closed_door.h"

namespace finetune {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(40);
// During an alarm: looks are kSoon apart while the process grows or was just relieved by a cut;
// after that each pause is twice the last, up to kLongest.
constexpr absl::Duration kSoon = absl::Milliseconds(5);
constexpr absl::Duration kLongest = absl::Milliseconds(320);
// How long it stays watchful after a cut. The client may come again, and what others give back
// meanwhile hides that the process grows.
constexpr absl::Duration kWatchful = absl::Seconds(2);
// The allocator keeps freed memory, for each thread that read a flood, until it is told to give it
// back.
constexpr absl::Duration kTrimAfter = absl::Milliseconds(100);
// Growth that no connection accounts for is accepted after this time.
constexpr absl::Duration kAlarm = absl::Seconds(10);
// Looks at connections may take one part in this many of a processor.
constexpr int kShare = 20;

// How often, at most, it takes stock of all connections, and which part of a processor that may
// take.
constexpr absl::Duration kCensus = absl::Seconds(10);
constexpr int kCensusShare = 1000;

constexpr int64_t kKb = int64_t{1} << 10;
constexpr int64_t kMb = int64_t{1} << 20;
// How much growth raises the alarm, and how little must be left of it for the alarm to end.
constexpr int64_t kGrowth = 24 * kMb;
constexpr int64_t kCalm = 12 * kMb;
// How much more memory from one look to the next counts as growth.
constexpr int64_t kStep = kMb;
// What all suspects together may cost, and the least cost for which one is cut.
constexpr int64_t kTolerated = 24 * kMb;
constexpr int64_t kLeastCost = 4 * kMb;
// What they may cost while it is watchful.
constexpr int64_t kToleratedThen = 16 * kMb;

// While the process has grown by so much, no connections are taken from where some were cut, for
// this long at least, and this long at most.
constexpr int64_t kFlooded = 96 * kMb;
constexpr absl::Duration kKeptOut = absl::Milliseconds(200);
constexpr absl::Duration kLongestKeptOut = absl::Seconds(5);
// Meanwhile it is seen that often how much of the memory is still used.
constexpr absl::Duration kTrimWhileClosed = absl::Milliseconds(100);

// A connection that has sent less than this is not looked at.
constexpr int64_t kLeastBytes = 32 * kKb;
constexpr absl::Duration kActive = absl::Milliseconds(200);
// The most memory that gRPC takes for a byte of headers. A header that is in the connection's table
// is sent as one byte and held as two slices, 64 bytes; twice as much again is taken when the call
// ends, to show its headers to the service.
constexpr int64_t kPerByte = 192;
// What an open stream holds besides its headers.
constexpr int64_t kPerStream = 8 * kKb;
// What calls of admitted callers may hold while they wait for their turn, as a busy client's do.
constexpr int64_t kWaitingTolerated = 400 * kMb;
// What gRPC may have read of such a connection and not parsed yet.
constexpr int64_t kUnparsed = 256 * kKb;
// How long after the alarm it waits for word of who is admitted, before it judges.
constexpr absl::Duration kHear = absl::Milliseconds(40);
// How many bytes a stream accounts for. A stream that has ended holds nothing any more, however
// long its headers and its request were; one that is open has had headers at least. One that was
// taken back (rapid reset) may still be on its way to the service.
constexpr int64_t kBytesOfEnded = 64 * kKb;
constexpr int64_t kBytesOfStarted = 512;
constexpr int64_t kPingsPerSecond = 16;
// One byte in this many of an upload is framing: HTTP/2 frames and TLS records.
constexpr int64_t kUploadsPerFraming = 32;
// What a client answers by opening its windows: this many bytes for each message that it is sent,
// and one for each kSentPerByte bytes.
constexpr int64_t kBytesOfSent = 64;
constexpr int64_t kSentPerByte = 256;
// How far an upload may be ahead of the reader.
constexpr int64_t kAheadOfReading = 2 * kMb;

// The most descriptors that may be in use, whatever the process's limit: a connection without a
// call holds 15 KB. It is more than all watches there may be, each on a connection of its own.
constexpr int64_t kMostFiles = 32'768;
// How many connections may be there without a call where there is TLS: each holds 65 KB from its
// first byte on, and 85 KB once TLS stands.
constexpr int64_t kMostIdleWithTls = 3'000;
// After a search that found no connection to cut, the next one is this much later.
constexpr absl::Duration kNothingToCut = absl::Seconds(1);

// The processor time that this thread has used.
absl::Duration ProcessorTime() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return absl::DurationFromTimespec(used);
}

class Statm {
 public:
  Statm() : fd_(open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) {}
  ~Statm() {
    if (fd_ >= 0) close(fd_);
  }
  int64_t ResidentBytes() const {
    char text[128] = "";
    if (fd_ < 0 || pread(fd_, text, sizeof(text) - 1, 0) <= 0) return 0;
    char* resident = nullptr;
    std::strtoll(text, &resident, 10);
    return std::strtoll(resident, nullptr, 10) * sysconf(_SC_PAGESIZE);
  }

 private:
  const int fd_;
};

// A new descriptor gets the lowest number that is free.
int64_t LowestFreeDescriptor() {
  const int fd = eventfd(0, EFD_CLOEXEC);
  if (fd < 0) return errno == EMFILE ? INT64_MAX : 0;
  close(fd);
  return fd;
}

int64_t MostFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMostFiles;
  return std::min<int64_t>(kMostFiles, static_cast<int64_t>(limit.rlim_cur / 2));
}

ConnectionGuard::Process ThisProcess(int port, bool tls) {
  auto statm = std::make_shared<Statm>();
  auto streams = std::make_shared<ConnectionStreams>();
  return {.resident_bytes = [statm] { return statm->ResidentBytes(); },
          .open_files = LowestFreeDescriptor,
          .trim = [] { malloc_trim(0); },
          .connections = [port] { return ConnectionsOn(port); },
          .cut = CutConnection,
          .streams = [streams](const std::string& peer) { return streams->Of(peer); },
          .close_door = [port](const std::vector<Source>& sources) { CloseDoorTo(sources, port); },
          .refresh_streams = [streams] { streams->Refresh(); },
          .most_files = MostFiles(),
          .most_idle = tls ? kMostIdleWithTls : INT64_MAX};
}

}  // namespace

ConnectionGuard::ConnectionGuard(int port, bool tls, LastingCalls& lasting_calls, Metrics& metrics)
    : ConnectionGuard(ThisProcess(port, tls), lasting_calls, metrics) {}

ConnectionGuard::ConnectionGuard(Process process, LastingCalls& lasting_calls, Metrics& metrics)
    : process_(std::move(process)),
      lasting_calls_(lasting_calls),
      cut_(metrics.Counter("finetune_gateway_cut_connections_total",
                           "Connections ended because they filled the process's memory with what "
                           "no call accounts for, or without a call when they were too many.")) {}

void ConnectionGuard::Start() {
  thread_ = std::make_unique<Thread>("memory-guard", [this] { Run(); });
}

void ConnectionGuard::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  if (thread_ != nullptr) thread_->Join();
  trimmer_.Stop();
}

void ConnectionGuard::Run() {
  absl::Time next_look = absl::InfinitePast();
  while (true) {
    absl::Time now = SteadyNow();
    CutIdle(now);
    if (now >= next_look) {
      const absl::Duration used = ProcessorTime();
      const absl::Duration pause = Look(now);
      now = SteadyNow();
      // However many connections there are, most of the processor is left to others.
      next_look = now + std::max(pause, kShare * (ProcessorTime() - used));
    }
    const absl::Time until = std::min(next_look, now + kInterval);
    MutexLock lock(mu_);
    for (absl::Duration left = until - now; left > absl::ZeroDuration() && !stopping_;
         left = until - SteadyNow())
      changed_.WaitFor(mu_, left);
    if (stopping_) return;
  }
}

absl::Duration ConnectionGuard::Look(absl::Time now) {
  // By now the connections that were cut are gone, with what they held.
  if (now >= trim_at_) {
    trim_at_ = now < watchful_until_ ? watchful_until_ : absl::InfiniteFuture();
    if (closes_door()) trim_at_ = now + kTrimWhileClosed;
    trimmer_.Post(process_.trim);
  }
  const int64_t resident = process_.resident_bytes();
  if (resident <= 0) return kLongest;
  least_ = std::min(least_, resident);
  OpenDoor(now, resident);
  const bool grows = resident > std::exchange(last_, resident) + kStep;
  const bool first = !alarm_;
  if (first) {
    if (now >= next_census_) TakeCensus(now);
    if (resident < least_ + kGrowth) return kInterval;
    BeginAlarm();
    alarm_ends_ = now + kAlarm;
    judges_from_ = now + kHear;
  } else if (resident < least_ + kCalm || now >= alarm_ends_) {
    EndAlarm(resident);
    return kInterval;
  }
  if (now >= judges_from_ && Judge(now, /*active=*/now < judges_from_ + kActive)) {
    trim_at_ = std::min(trim_at_, now + kTrimAfter);
    alarm_ends_ = now + kAlarm;
    watchful_until_ = now + kWatchful;
  }
  const bool watchful = grows || now < watchful_until_;
  return pause_ = watchful ? kSoon : std::min(2 * pause_, kLongest);
}

void ConnectionGuard::TakeCensus(absl::Time now) {
  const absl::Duration used = ProcessorTime();
  ++census_;
  for (const TcpConnection& connection : process_.connections())
    seen_.try_emplace(connection.inode, Seen{.since = now}).first->second.census = census_;
  absl::erase_if(seen_, [this](const auto& seen) { return seen.second.census != census_; });
  next_census_ = now + std::max(kCensus, kCensusShare * (ProcessorTime() - used));
}

void ConnectionGuard::BeginAlarm() {
  alarm_ = true;
  pause_ = kSoon;
  for (auto& [inode, seen] : seen_) seen.asked = false;
  lasting_calls_.KeepAccounts(true);
}

void ConnectionGuard::EndAlarm(int64_t resident) {
  alarm_ = false;
  least_ = resident;
  lasting_calls_.KeepAccounts(false);
}

bool ConnectionGuard::Judge(absl::Time now, bool active) {
  process_.refresh_streams();
  const CallsOfPeers calls = lasting_calls_.ByPeer();
  std::vector<Suspect> suspects;
  int64_t waiting = 0;
  for (TcpConnection& connection : process_.connections()) {
    if (active && connection.idle > kActive) continue;
    std::optional<Suspect> suspect = Weigh(std::move(connection), calls, now);
    if (!suspect) continue;
    if (suspect->admitted) waiting += suspect->streams * kPerStream;
    suspects.push_back(*std::move(suspect));
  }
  int64_t cost = 0;
  for (Suspect& suspect : suspects) {
    suspect.cost = suspect.bytes * kPerByte;
    if (!suspect.admitted || waiting > kWaitingTolerated)
      suspect.cost += suspect.streams * kPerStream;
    if (suspect.cost >= kLeastCost) cost += suspect.cost;
  }
  std::erase_if(suspects, [](const Suspect& suspect) { return suspect.cost < kLeastCost; });
  std::sort(suspects.begin(), suspects.end(),
            [](const Suspect& a, const Suspect& b) { return a.cost > b.cost; });
  bool any = false;
  for (const Suspect& suspect : suspects) {
    if (cost <= (now < watchful_until_ ? kToleratedThen : kTolerated)) break;
    cost -= suspect.cost;
    Cut(suspect, now);
    any = true;
  }
  if (any && !kept_out_.empty()) SetDoor();
  return any;
}

int64_t ConnectionGuard::UnaccountedBytes(const Sums& now, const Sums& before) {
  const int64_t uploaded = now.upload_bytes - before.upload_bytes;
  const int64_t failed = now.streams.failed - before.streams.failed;
  const int64_t accounted =
      uploaded + uploaded / kUploadsPerFraming +
      (now.streams.ended - before.streams.ended - failed) * kBytesOfEnded +
      (now.streams.started - before.streams.started - failed) * kBytesOfStarted +
      (now.streams.messages_sent - before.streams.messages_sent) * kBytesOfSent +
      (now.sent_bytes - before.sent_bytes) / kSentPerByte;
  return now.read_bytes - before.read_bytes - accounted;
}

std::optional<ConnectionGuard::Suspect> ConnectionGuard::Weigh(TcpConnection connection,
                                                               const CallsOfPeers& calls,
                                                               absl::Time now) {
  Seen& seen =
      seen_.try_emplace(connection.inode, Seen{.since = now, .census = census_}).first->second;
  // Clients send pings to learn whether the connection lives.
  const int64_t pings = kPingsPerSecond * absl::ToInt64Seconds(now - seen.since);
  if (seen.cut || connection.read_bytes - seen.accounted.read_bytes < kLeastBytes + pings)
    return std::nullopt;
  const auto found = calls.find(connection.peer);
  const CallsOfPeer own = found == calls.end() ? CallsOfPeer() : found->second;
  const Sums sums{.read_bytes = connection.read_bytes,
                  .sent_bytes = connection.sent_bytes,
                  .upload_bytes = own.upload_bytes,
                  .streams = process_.streams(connection.peer).value_or(StreamCounts())};
  int64_t bytes = UnaccountedBytes(sums, seen.accounted) - pings - own.uploads * kAheadOfReading;
  // How much was read for uploads that ended before the alarm is not known. Uploads have many
  // messages, all other calls one.
  const bool unknown = !std::exchange(seen.asked, true) &&
                       (own.uploads > 0 || seen.accounted.upload_bytes > 0 ||
                        sums.streams.messages_received - seen.accounted.streams.messages_received >
                            sums.streams.started - seen.accounted.streams.started);
  // What was accounted for beyond its bytes is not credited to later ones.
  if (bytes <= 0 || unknown) {
    seen.since = now;
    seen.accounted = sums;
    bytes = 0;
  }
  if (own.admitted) bytes = std::max<int64_t>(0, bytes - kUnparsed);
  return Suspect{
      .connection = std::move(connection),
      .admitted = own.admitted,
      .bytes = bytes,
      .streams = std::max<int64_t>(0, sums.streams.started - sums.streams.ended - own.calls)};
}

void ConnectionGuard::Cut(const Suspect& suspect, absl::Time now) {
  seen_[suspect.connection.inode].cut = true;
  if (!process_.cut(suspect.connection)) return;
  cut_.Increment();
  Log(LogLevel::kWarning, "cut a connection that filled the memory with what no call accounts for",
      {{"peer", suspect.connection.peer},
       {"bytes", suspect.bytes},
       {"streams", suspect.streams},
       {"resident_bytes", last_}});
  // Callers that may call have shares of what there is, and others may call from where they are.
  if (suspect.admitted || last_ < least_ + kFlooded) return;
  const auto [kept_out, is_new] = kept_out_.insert_or_assign(suspect.connection.source, now);
  if (is_new)
    Log(LogLevel::kWarning, "takes no more connections from an address for a while",
        {{"address", NameOf(kept_out->first)}, {"resident_bytes", last_}});
}

void ConnectionGuard::OpenDoor(absl::Time now, int64_t resident) {
  const bool flooded = resident >= least_ + kFlooded;
  const absl::Duration at_least = flooded ? kLongestKeptOut : kKeptOut;
  if (std::erase_if(kept_out_, [&](const auto& one) { return now >= one.second + at_least; }) > 0)
    SetDoor();
}

void ConnectionGuard::SetDoor() {
  std::vector<Source> sources;
  for (const auto& [source, since] : kept_out_) sources.push_back(source);
  closes_door_.store(!sources.empty(), std::memory_order_relaxed);
  process_.close_door(sources);
}

void ConnectionGuard::CutIdle(absl::Time now) {
  if (now < next_cut_) return;
  // As many descriptors are taken at least.
  const int64_t files = process_.open_files();
  if (files < std::min(process_.most_files, process_.most_idle)) return;
  const absl::Duration used = ProcessorTime();
  std::vector<TcpConnection> idle = IdleConnections();
  int64_t most = 0;
  if (files >= process_.most_files) most = process_.most_files / 2;
  if (static_cast<int64_t>(idle.size()) >= process_.most_idle)
    most = std::max(most, process_.most_idle / 2);
  int64_t count = 0;
  if (most > 0) {
    SortByWorth(idle);
    for (const TcpConnection& connection : idle) {
      if (count == most) break;
      if (process_.cut(connection)) ++count;
    }
  }
  if (count == 0) {
    // With very many calls to look through, most of the processor is others'.
    next_cut_ = now + std::max(kNothingToCut, kShare * (ProcessorTime() - used));
    return;
  }
  trim_at_ = std::min(trim_at_, now + kTrimAfter);
  cut_.Increment(static_cast<double>(count));
  Log(LogLevel::kWarning, "cut connections without a call: there are too many",
      {{"connections", count},
       {"idle", static_cast<int64_t>(idle.size())},
       {"descriptors", files}});
}

std::vector<TcpConnection> ConnectionGuard::IdleConnections() const {
  const CallsOfPeers calls = lasting_calls_.ByPeer();
  std::vector<TcpConnection> idle = process_.connections();
  std::erase_if(idle, [&](const TcpConnection& connection) {
    const auto found = calls.find(connection.peer);
    return found != calls.end() && found->second.calls > 0;
  });
  return idle;
}

void ConnectionGuard::SortByWorth(std::vector<TcpConnection>& connections) const {
  process_.refresh_streams();
  struct Ranked {
    bool has_called;
    absl::Duration idle;
    TcpConnection connection;
  };
  std::vector<Ranked> ranked;
  ranked.reserve(connections.size());
  for (TcpConnection& connection : connections) {
    // GRPC knows none whose TLS does not stand yet.
    const std::optional<StreamCounts> streams = process_.streams(connection.peer);
    const absl::Duration idle = connection.idle;
    ranked.push_back({streams && streams->started > 0, idle, std::move(connection)});
  }
  std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return std::tuple(a.has_called, b.idle) < std::tuple(b.has_called, a.idle);
  });
  connections.clear();
  for (Ranked& one : ranked) connections.push_back(std::move(one.connection));
}

}  // namespace finetune
