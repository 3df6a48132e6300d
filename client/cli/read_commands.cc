// get, describe, list, status and whoami: what the gateway knows.
#include <limits>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/job_names.h"
#include "client/cli/job_text.h"
#include "client/cli/values.h"
#include "client/cli/watch_command.h"
#include "server/base/micros.h"

namespace finetune::cli {
namespace {

constexpr int kLargestPage = 1000;
constexpr char kStalenessHelp[] = "How old the answer may be; 0 asks Segmind now";

struct GetFlags {
  std::vector<std::string> names;
  std::string max_staleness;
  bool describe = false;
  bool watch = false;
};

struct ListFlags {
  std::string filter;
  std::vector<std::string> labels;
  std::string sort;
  int page_size = 0;
  int limit = 0;
  bool all = false;
  std::string view;
  std::string max_staleness;
  bool watch = false;
};

bool UsesTable(const Session& session, const GetFlags& flags) {
  return session.for_people() && !flags.describe &&
         (flags.names.size() > 1 || session.format.kind() == OutputFormat::Kind::kWide);
}

int Get(Session& session, FineTuneClient& client, const GetFlags& flags) {
  GetOptions options;
  if (!flags.max_staleness.empty()) options.max_staleness = *ParseTimespan(flags.max_staleness);
  Table table = session.NewTable(JobColumns());
  int code = kSuccess;
  std::vector<std::string> names;
  for (const std::string& text : flags.names) {
    const auto name = ResolveJob(client, text);
    const auto job = name.ok() ? client.Get(*name, options) : name.status();
    if (!job.ok()) {
      code = session.Fail(job.status());
      continue;
    }
    names.push_back(job->name());
    if (flags.describe) {
      PrintDescription(session, *job);
    } else if (UsesTable(session, flags)) {
      table.Add(JobRow(*job, absl::Now(), session.table_width() > 0));
    } else {
      PrintJob(session, *job);
    }
  }
  if (UsesTable(session, flags) && !names.empty()) table.Print(session.out, session.colours());
  if (!flags.watch || code != kSuccess) return code;
  return WatchChanges(session, client, names, "");
}

pb::ListFineTunesRequest RequestOf(const ListFlags& flags) {
  pb::ListFineTunesRequest request;
  request.set_filter(FilterOf(flags.filter, flags.labels));
  request.set_order_by(flags.sort);
  request.set_page_size(flags.page_size);
  if (flags.view == "full") request.set_view(pb::FINE_TUNE_VIEW_FULL);
  if (flags.view == "basic") request.set_view(pb::FINE_TUNE_VIEW_BASIC);
  if (!flags.max_staleness.empty())
    ToProto(*ParseTimespan(flags.max_staleness),
            *request.mutable_freshness()->mutable_max_staleness());
  if (flags.page_size == 0 && (flags.all || flags.limit > 0))
    request.set_page_size(flags.limit > 0 ? std::min(flags.limit, kLargestPage) : kLargestPage);
  return request;
}

void PrintPage(Session& session, const pb::ListFineTunesResponse& page, Table& table) {
  for (const pb::FineTune& job : page.fine_tunes()) {
    if (session.for_people()) {
      table.Add(JobRow(job, absl::Now(), session.table_width() > 0));
    } else {
      session.Print(job);
    }
  }
  if (session.for_people() && !page.fine_tunes().empty())
    table.Print(session.out, session.colours());
}

int List(Session& session, FineTuneClient& client, const ListFlags& flags) {
  pb::ListFineTunesRequest request = RequestOf(flags);
  Table table = session.NewTable(JobColumns());
  int shown = 0;
  while (true) {
    auto page = client.ListPage(request);
    if (!page.ok()) return session.Fail(page.status());
    if (flags.limit > 0 && shown + page->fine_tunes_size() > flags.limit) {
      page->mutable_fine_tunes()->DeleteSubrange(flags.limit - shown,
                                                 page->fine_tunes_size() - (flags.limit - shown));
    }
    if (shown == 0 && !page->has_observe_time())
      session.err << "warning: the gateway has not read Segmind since it started: jobs may be "
                     "missing here, and states may be old.\n";
    shown += page->fine_tunes_size();
    PrintPage(session, *page, table);
    if (page->next_page_token().empty()) break;
    if (!flags.all && shown >= flags.limit) {
      session.err << shown << " of " << page->total_size() << " jobs shown; --all shows all.\n";
      break;
    }
    request.set_page_token(page->next_page_token());
    // The first page was fresh enough; the following ones belong to it.
    request.clear_freshness();
  }
  if (shown == 0 && session.for_people())
    session.err << (request.filter().empty() ? "There are no jobs.\n" : "No jobs match.\n");
  return flags.watch ? WatchChanges(session, client, {}, request.filter()) : kSuccess;
}

std::string RoleOf(const pb::CallerIdentity& caller) {
  return caller.role() == 0 ? "" : pb::CallerIdentity::Role_Name(caller.role());
}

}  // namespace

void PrintQuotas(const pb::GatewayStatus& status, std::ostream& out) {
  for (const pb::QuotaUse& quota : status.quotas()) {
    const auto amount = [&](int64_t number) {
      return quota.unit().empty() ? absl::StrCat(number) : ShowMicros(number);
    };
    out << "quota         " << Printable(quota.metric()) << ": " << amount(quota.used()) << " of "
        << amount(quota.limit()) << (quota.unit().empty() ? "" : " ") << Printable(quota.unit())
        << " used";
    if (quota.has_reset_time()) out << ", anew " << Moment(quota.reset_time());
    if (quota.soft()) out << ", warns only";
    out << "\n";
  }
}

namespace {

// Printed if several gateways share a record.
void PrintReplicas(const pb::GatewayStatus& status, absl::Time now, std::ostream& out) {
  if (status.replicas().empty()) return;
  out << "store         " << Printable(status.store());
  if (status.has_store_lag()) out << ", complete " << status.store_lag().seconds() << " s ago";
  out << "\n";
  bool has_leader = false;
  for (const pb::ReplicaStatus& replica : status.replicas()) {
    out << "replicas      " << Printable(replica.name()) << ", version "
        << Printable(replica.version()) << ", started " << Age(replica.start_time(), now);
    if (replica.leader()) out << ", reads Segmind (term " << status.leader_term() << ")";
    out << "\n";
    has_leader = has_leader || replica.leader();
  }
  if (!has_leader) out << "replicas      none of them reads Segmind now\n";
}

int Status(Session& session, FineTuneClient& client) {
  const absl::Time start = absl::Now();
  const auto status = client.Status();
  if (!status.ok()) return session.Fail(status.status());
  if (!session.for_people()) {
    session.Print(*status);
    return kSuccess;
  }
  const absl::Time now = absl::Now();
  std::ostream& out = session.out;
  out << "gateway       " << Printable(client.connection().target()) << ", version "
      << Printable(status->version()) << ", answered in " << absl::ToInt64Milliseconds(now - start)
      << " ms\n";
  if (!status->replica().empty()) out << "replica       " << Printable(status->replica()) << "\n";
  PrintReplicas(*status, now, out);
  out << "segmind       " << pb::GatewayStatus::UpstreamState_Name(status->upstream_state());
  if (status->observe_time().seconds() == 0) {
    out << ", last read never since its start";
  } else {
    out << ", last read " << Age(status->observe_time(), now);
  }
  if (status->last_webhook_time().seconds() != 0)
    out << ", last webhook " << Age(status->last_webhook_time(), now);
  out << "\njobs          " << status->fine_tune_count() << ", " << status->active_fine_tune_count()
      << " of them active\n"
      << "revision      " << status->revision() << "\n"
      << "watchers      " << status->watcher_count() << "\n"
      << "calls left    " << status->upstream_calls_left() << " to Segmind in this window\n"
      << "credits       ";
  if (status->has_credits()) {
    out << ShowMicros(status->credits().micros()) << " left, as of "
        << Age(status->credits().observe_time(), now) << "\n";
  } else {
    out << "unknown\n";
  }
  if (!status->caller().name().empty())
    out << "you           " << Printable(status->caller().name()) << ", "
        << RoleOf(status->caller()) << "\n";
  PrintQuotas(*status, out);
  return kSuccess;
}

int WhoAmI(Session& session, FineTuneClient& client) {
  const auto status = client.Status();
  if (!status.ok()) return session.Fail(status.status());
  if (!session.for_people()) {
    session.Print(status->caller());
    return kSuccess;
  }
  const pb::CallerIdentity& caller = status->caller();
  const std::string role = RoleOf(caller);
  if (caller.name().empty()) {
    session.out
        << "Nobody in particular: this gateway has no policy, and whoever reaches it may do "
           "everything.\n";
  } else {
    session.out << "name          " << Printable(caller.name()) << "\n";
    if (!role.empty()) session.out << "role          " << role << "\n";
  }
  PrintQuotas(*status, session.out);
  return kSuccess;
}

void AddGetLike(CLI::App& app, Session& session, const std::string& name, const std::string& help,
                const std::string& examples) {
  auto flags = std::make_shared<GetFlags>();
  flags->describe = name == "describe";
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("name", flags->names, kJobHelp)->required();
  command->add_option("--max-staleness", flags->max_staleness, kStalenessHelp)->check(IsTimespan());
  if (!flags->describe) command->add_flag("-w,--watch", flags->watch, "Then show every change");
  command->footer(examples);
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Get(session, client, *flags); });
  });
}

}  // namespace

void AddGet(CLI::App& app, Session& session) {
  AddGetLike(app, session, "get", "Show jobs",
             "Examples:\n"
             "  finetune get 0f8b6c1e\n"
             "  finetune get my-dog my-cat -o wide\n"
             "  finetune get my-dog --max-staleness 0 -o jsonpath={.state}");
}

void AddDescribe(CLI::App& app, Session& session) {
  AddGetLike(app, session, "describe",
             "Show all about a job: its history, how long it took, and what to do next",
             "Examples:\n  finetune describe my-dog\n  finetune describe 0f8b6c1e -o yaml");
}

void AddList(CLI::App& app, Session& session) {
  auto flags = std::make_shared<ListFlags>();
  CLI::App* command = app.add_subcommand("list", "List jobs, newest first; as JSON one job a line");
  command->add_option("--filter", flags->filter,
                      "Such as 'state = AVAILABLE AND labels.team = \"art\"', or words to find");
  command->add_option("-l,--label", flags->labels, "Jobs with this label; may be repeated")
      ->check(IsSelector())
      ->allow_extra_args(false);
  command->add_option("--sort", flags->sort,
                      "create_time, update_time or display_name, each with ' desc' if wanted");
  command->add_option("--page-size", flags->page_size, "Jobs per call")
      ->check(CLI::Range(1, kLargestPage));
  command->add_option("--limit", flags->limit, "Show at most that many")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  command->add_flag("--all", flags->all, "Show all, not only the first page")->excludes("--limit");
  command->add_option("--view", flags->view, "basic (default) or full")
      ->check(CLI::IsMember({"basic", "full"}));
  command->add_option("--max-staleness", flags->max_staleness, kStalenessHelp)->check(IsTimespan());
  command->add_flag("-w,--watch", flags->watch, "Then show every change");
  command->footer(
      "Examples:\n"
      "  finetune list\n"
      "  finetune list -l team=art --filter 'state = FAILED' --limit 10\n"
      "  finetune list --all -o json | jq -r .name");
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return List(session, client, *flags); });
  });
}

void AddStatus(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("status", "Show how healthy and how fresh the gateway is");
  command->footer("Examples:\n  finetune status\n  finetune status --server gateway:50051 -o json");
  command->callback([&session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Status(session, client); });
  });
}

void AddWhoAmI(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("whoami", "Show as whom the gateway sees you, and what is left to you");
  command->footer("Examples:\n  finetune whoami\n  finetune whoami --token-file token -o json");
  command->callback([&session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return WhoAmI(session, client); });
  });
}

}  // namespace finetune::cli
