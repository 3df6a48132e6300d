#include "server/open_store.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "server/base/backoff.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/base/uuid.h"
#include "server/store/postgres_fleet.h"
#include "server/store/postgres_store.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

constexpr absl::Duration kLogWaitEvery = absl::Seconds(10);

PgTarget TargetOf(const Config& config) {
  return {.url = config.postgres_url,
          .password_file = config.store_password_file,
          .ca_file = config.store_ca_file};
}

}  // namespace

std::string ReplicaName(const Config& config) {
  std::string name = config.replica_name;
  const char* const host = std::getenv("HOSTNAME");
  if (name.empty() && host != nullptr) name = host;
  if (name.empty()) {
    char machine[256] = "";
    gethostname(machine, sizeof(machine) - 1);
    name = machine;
  }
  return ValidUtf8(name, 255);
}

absl::Status AwaitDatabase(const std::function<absl::Status()>& attempt,
                           const std::function<bool()>& should_stop) {
  Backoff pauses(absl::Milliseconds(100), absl::Seconds(2));
  absl::Time log_at = absl::InfinitePast();
  while (true) {
    absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || should_stop()) return status;
    if (SteadyNow() >= log_at) {
      Log(LogLevel::kError, "waiting for the database", {{"error", std::string(status.message())}});
      log_at = SteadyNow() + kLogWaitEvery;
    }
    const absl::Time until = SteadyNow() + pauses.Next();
    while (SteadyNow() < until && !should_stop()) absl::SleepFor(absl::Milliseconds(50));
  }
}

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const Config& config,
                                                 const std::function<bool()>& should_stop) {
  if (config.postgres_url.empty()) {
    return OpenSqliteStore(config.sqlite_path, {.accept_lost_record = config.accept_lost_record});
  }
  const PostgresOptions options{
      .target = TargetOf(config),
      .name = ReplicaName(config),
      // A lost submission may have been sent until its gateway no longer counted as alive, and may
      // have taken as long as a submission may.
      .caution = kMemberLease + config.submit_timeout + config.settle_time};
  std::unique_ptr<Store> store;
  const auto open = [&] {
    auto opened = OpenPostgresStore(options);
    if (opened.ok()) store = *std::move(opened);
    return opened.status();
  };
  RETURN_IF_ERROR(AwaitDatabase(open, should_stop));
  return store;
}

std::unique_ptr<Fleet> MakeFleet(const Config& config, const Store& store, absl::Time started) {
  if (config.postgres_url.empty()) {
    return std::make_unique<SoloFleet>(FleetMember{.id = MakeUuid(),
                                                   .name = ReplicaName(config),
                                                   .version = FINETUNE_VERSION,
                                                   .started = started});
  }
  return MakePostgresFleet(
      {.target = TargetOf(config), .calls_per_minute = config.upstream_calls_per_minute},
      store.membership());
}

}  // namespace finetune
