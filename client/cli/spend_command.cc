// spend: what jobs cost, and whose they are.
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "server/base/micros.h"

namespace finetune::cli {
namespace {

constexpr absl::string_view kLabel = "label:";

struct SpendFlags {
  std::string by = "caller";
  std::string since;
  std::string until;
  std::string zone = "UTC";
  bool days = false;
};

// `2026-11-26` in the zone, or a whole RFC 3339 time.
absl::StatusOr<absl::Time> ParseDay(const std::string& text, const std::string& zone_name) {
  absl::TimeZone zone;
  if (!absl::LoadTimeZone(zone_name, &zone)) zone = absl::UTCTimeZone();
  absl::Time time;
  std::string ignored;
  if (absl::ParseTime("%Y-%m-%d", text, zone, &time, &ignored) ||
      absl::ParseTime(absl::RFC3339_full, text, &time, &ignored))
    return time;
  return absl::InvalidArgumentError(
      absl::StrCat("`", text,
                   "` is no day such as 2026-11-26, nor a time such as "
                   "2026-11-26T12:00:00Z"));
}

absl::StatusOr<pb::GetSpendingRequest> RequestOf(const SpendFlags& flags) {
  pb::GetSpendingRequest request;
  if (flags.by == "caller") {
    request.set_group_by(pb::GetSpendingRequest::CALLER);
  } else if (flags.by == "team") {
    request.set_group_by(pb::GetSpendingRequest::TEAM);
  } else if (flags.by == "model") {
    request.set_group_by(pb::GetSpendingRequest::MODEL);
  } else if (absl::StartsWith(flags.by, kLabel) && flags.by.size() > kLabel.size()) {
    request.set_group_by(pb::GetSpendingRequest::LABEL);
    request.set_label_key(flags.by.substr(kLabel.size()));
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("`", flags.by, "` is none of caller, team, model and label:KEY"));
  }
  request.set_time_zone(flags.zone);
  request.set_step(flags.days ? pb::GetSpendingRequest::DAY : pb::GetSpendingRequest::MONTH);
  if (!flags.since.empty()) {
    const auto since = ParseDay(flags.since, flags.zone);
    if (!since.ok()) return since.status();
    request.mutable_start_time()->set_seconds(absl::ToUnixSeconds(*since));
  }
  if (!flags.until.empty()) {
    const auto until = ParseDay(flags.until, flags.zone);
    if (!until.ok()) return until.status();
    request.mutable_end_time()->set_seconds(absl::ToUnixSeconds(*until));
  }
  return request;
}

std::string CostsOf(const google::protobuf::RepeatedPtrField<pb::Cost>& costs) {
  return absl::StrJoin(costs, "; ", [](std::string* out, const pb::Cost& cost) {
    absl::StrAppend(out, ShowMicros(cost.micros()), " ", Printable(cost.unit()));
  });
}

std::vector<std::string> FieldsOf(const pb::SpendingRow& row) {
  return {row.period(),
          row.group(),
          absl::StrCat(row.jobs()),
          absl::StrCat(row.open_jobs()),
          absl::StrCat(row.available_jobs()),
          absl::StrCat(row.failed_jobs()),
          absl::StrCat(row.cancelled_jobs()),
          absl::StrCat(row.lost_jobs()),
          absl::StrCat(row.unpriced_jobs()),
          CostsOf(row.costs()),
          CostsOf(row.failed_costs())};
}

// As RFC 4180 says.
std::string CsvQuoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  return absl::StrCat("\"", absl::StrReplaceAll(field, {{"\"", "\"\""}}), "\"");
}

void PrintCsv(const pb::GetSpendingResponse& spending, const std::string& group,
              std::ostream& out) {
  out << "period," << CsvQuoted(group)
      << ",jobs,open,available,failed,cancelled,lost,unpriced,cost,failed_cost\n";
  for (const pb::SpendingRow& row : spending.rows()) {
    out << absl::StrJoin(FieldsOf(row), ",", [](std::string* line, const std::string& field) {
      absl::StrAppend(line, CsvQuoted(field));
    }) << "\n";
  }
}

void PrintTable(Session& session, const pb::GetSpendingResponse& spending,
                const std::string& group) {
  if (spending.rows().empty()) {
    session.err << "Nothing was submitted in this time.\n";
    return;
  }
  Table table = session.NewTable({{.heading = "PERIOD"},
                                  {.heading = group},
                                  {.heading = "JOBS"},
                                  {.heading = "OPEN", .rank = 2},
                                  {.heading = "AVAILABLE", .rank = 2},
                                  {.heading = "FAILED", .rank = 1},
                                  {.heading = "CANCELLED", .rank = 4},
                                  {.heading = "LOST", .rank = 3},
                                  {.heading = "UNPRICED", .rank = 1},
                                  {.heading = "COST"},
                                  {.heading = "OF FAILED", .rank = 1}});
  for (const pb::SpendingRow& row : spending.rows()) {
    std::vector<Cell> cells;
    for (std::string& field : FieldsOf(row))
      cells.push_back({.text = field.empty() ? "-" : Printable(field)});
    table.Add(std::move(cells));
  }
  table.Print(session.out, session.colours());
}

int Spend(Session& session, FineTuneClient& client, const SpendFlags& flags) {
  const auto request = RequestOf(flags);
  if (!request.ok()) return session.Fail(request.status());
  const auto spending = client.Spending(*request);
  if (!spending.ok()) return session.Fail(spending.status());
  if (session.format.kind() == OutputFormat::Kind::kCsv) {
    PrintCsv(*spending, flags.by, session.out);
  } else if (session.for_people()) {
    PrintTable(session, *spending, absl::AsciiStrToUpper(Printable(flags.by)));
  } else {
    for (const pb::SpendingRow& row : spending->rows()) session.Print(row);
  }
  return kSuccess;
}

}  // namespace

void AddSpend(CLI::App& app, Session& session) {
  auto flags = std::make_shared<SpendFlags>();
  CLI::App* command = app.add_subcommand(
      "spend", "Show what jobs cost, and whose they are; as JSON one row a line");
  command->add_option("--by", flags->by, "caller (default), team, model or label:KEY");
  command->add_option("--since", flags->since,
                      "The first day, such as 2026-11-01; since the month began if not given");
  command->add_option("--until", flags->until, "The day after the last one");
  command->add_option("--zone", flags->zone,
                      "The time zone that days begin in, such as Europe/Berlin; else UTC");
  command->add_flag("--days", flags->days, "By day instead of by month");
  command->footer(
      "Examples:\n"
      "  finetune spend --by team --since 2026-01-01\n"
      "  finetune spend --by label:cost-center --days -o csv > november.csv");
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Spend(session, client, *flags); });
  });
}

}  // namespace finetune::cli
