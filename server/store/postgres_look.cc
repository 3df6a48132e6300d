#include "server/store/postgres_look.h"

#include <utility>

#include "server/base/clock.h"
#include "server/store/postgres_calls.h"
#include "server/store/postgres_leader.h"
#include "server/store/postgres_now.h"

namespace finetune {
namespace {

void TakeMembers(const PgRows& rows, const std::string& me, FleetLook& look) {
  for (int i = 0; i < rows.size(); ++i) {
    FleetMember& member = look.members.emplace_back();
    member = {.id = std::string(rows.Bytes(i, 0)),
              .name = std::string(rows.Bytes(i, 1)),
              .version = std::string(rows.Bytes(i, 2)),
              .started = absl::FromUnixNanos(rows.Number(i, 3))};
    member.is_me = member.id == me;
    member.leads = look.left > absl::ZeroDuration() && member.id == look.term.holder;
    if (member.leads) look.leader_name = member.name;
  }
}

std::vector<PgQuery> Queries(PgQuery renewal, PgQuery hints) {
  std::vector<PgQuery> queries;
  queries.push_back(std::move(renewal));
  queries.push_back(
      {"SELECT term, holder, expires - " PG_NOW ", reading, wanted, " PG_NOW
       ", (current_setting('synchronous_standby_names') <> '')::int::bigint, (SELECT count(*) FROM "
       "pg_stat_replication) FROM finetune.leader"});
  queries.push_back(
      {"SELECT id, name, version, started FROM finetune.members WHERE expires > " PG_NOW
       " ORDER BY name, started, id"});
  queries.push_back({"SELECT revision FROM finetune.meta"});
  queries.push_back(std::move(hints));
  for (PgQuery& query : PostgresCalls::PictureQueries()) queries.push_back(std::move(query));
  return queries;
}

}  // namespace

std::vector<PgQuery> LookQueries(const LeaderTerm* term, absl::Duration lease) {
  return Queries(
      RenewQuery(term, lease),
      {"DELETE FROM finetune.hints WHERE EXISTS (SELECT FROM finetune.leader WHERE term = "
       "$1::bigint AND holder = $2::text) RETURNING upstream_id",
       TermValues(term)});
}

std::vector<PgQuery> LookOnlyQueries() {
  static constexpr char kNothing[] = "SELECT WHERE false";
  return Queries({kNothing}, {kNothing});
}

std::optional<FleetLook> LookOf(const std::vector<PgRows>& rows, absl::Time sent,
                                const std::string& me, DatabaseClock& clock) {
  const PgRows& leader = rows[1];
  if (leader.size() != 1 || rows[3].size() != 1) return std::nullopt;
  const absl::Time said = absl::FromUnixNanos(leader.Number(0, 5));
  const absl::Time received = SteadyNow();
  clock.Note(sent, received, said);
  FleetLook look{
      .is_renewed = rows[0].size() == 1,
      .term = {static_cast<uint64_t>(leader.Number(0, 0)), std::string(leader.Bytes(0, 1))},
      .left = absl::Nanoseconds(leader.Number(0, 2)),
      .reading = std::string(leader.Bytes(0, 3)),
      .wanted = static_cast<uint64_t>(leader.Number(0, 4)),
      .revision = static_cast<uint64_t>(rows[3].Number(0, 0)),
      .calls = PostgresCalls::PictureOf(rows[5], rows[6], clock),
      .is_synchronous = leader.Number(0, 6) != 0,
      .standbys = leader.Number(0, 7),
      .uncertainty = (received - sent) / 2};
  look.skew = WallNow() - look.uncertainty - said;
  TakeMembers(rows[2], me, look);
  for (int i = 0; i < rows[4].size(); ++i) look.hints.emplace_back(rows[4].Bytes(i, 0));
  return look;
}

}  // namespace finetune
