// get, list and status: what the gateway knows.
#include <limits>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"

namespace finetune::cli {
namespace {

constexpr int kLargestPage = 1000;

struct GetFlags {
  std::string name;
  std::string max_staleness;
};

struct ListFlags {
  std::string filter;
  int page_size = 0;
  int limit = 0;
  bool all = false;
  std::string view;
  std::string max_staleness;
};

void SetStaleness(const std::string& text, pb::Freshness& freshness) {
  const auto span = ParseTimespan(text);
  if (span.ok()) ToProto(*span, *freshness.mutable_max_staleness());
}

int Get(Session& session, const GetFlags& flags) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  GetOptions options;
  if (!flags.max_staleness.empty()) options.max_staleness = *ParseTimespan(flags.max_staleness);
  auto job = (*client)->Get(FullName(flags.name), options);
  if (!job.ok()) return session.Fail(job.status());
  PrintJob(session, *job);
  return kSuccess;
}

void PrintPage(Session& session, const pb::ListFineTunesResponse& page, Table& table) {
  for (const pb::FineTune& job : page.fine_tunes()) {
    if (session.json()) {
      session.PrintJson(job);
    } else {
      table.Add(JobRow(job, absl::Now(), session.colours()));
    }
  }
  if (!session.json()) table.Print(session.out, session.colours());
}

int List(Session& session, const ListFlags& flags) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  pb::ListFineTunesRequest request;
  request.set_filter(flags.filter);
  request.set_page_size(flags.page_size);
  if (flags.view == "full") request.set_view(pb::FINE_TUNE_VIEW_FULL);
  if (flags.view == "basic") request.set_view(pb::FINE_TUNE_VIEW_BASIC);
  if (!flags.max_staleness.empty()) SetStaleness(flags.max_staleness, *request.mutable_freshness());
  if (flags.page_size == 0 && (flags.all || flags.limit > 0)) {
    request.set_page_size(flags.limit > 0 ? std::min(flags.limit, kLargestPage) : kLargestPage);
  }
  Table table(JobHeadings());
  int shown = 0;
  while (true) {
    auto page = (*client)->ListPage(request);
    if (!page.ok()) return session.Fail(page.status());
    if (flags.limit > 0 && shown + page->fine_tunes_size() > flags.limit) {
      page->mutable_fine_tunes()->DeleteSubrange(flags.limit - shown,
                                                 page->fine_tunes_size() - (flags.limit - shown));
    }
    if (shown == 0 && !page->has_observe_time())
      session.err << "warning: the gateway has not read Segmind since it started: jobs may be "
                     "missing here, and states be old.\n";
    shown += page->fine_tunes_size();
    PrintPage(session, *page, table);
    const bool more = flags.all || shown < flags.limit;
    if (page->next_page_token().empty()) break;
    if (!more) {
      session.err << shown << " of " << page->total_size() << " jobs shown; --all shows all.\n";
      break;
    }
    request.set_page_token(page->next_page_token());
    // The first page was fresh enough; the following ones belong to it.
    request.clear_freshness();
  }
  return kSuccess;
}

int Status(Session& session) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  const absl::Time start = absl::Now();
  auto status = (*client)->Status();
  if (!status.ok()) return session.Fail(status.status());
  if (session.json()) {
    session.PrintJson(*status);
    return kSuccess;
  }
  const absl::Time now = absl::Now();
  std::ostream& out = session.out;
  out << "gateway       " << session.server << ", version " << Printable(status->version())
      << ", answered in " << absl::ToInt64Milliseconds(now - start) << " ms\n"
      << "segmind       " << pb::GatewayStatus::UpstreamState_Name(status->upstream_state())
      << ", last read "
      << (status->has_observe_time() ? Age(status->observe_time(), now) : "never since its start")
      << ", last webhook " << Age(status->last_webhook_time(), now) << "\n"
      << "jobs          " << status->fine_tune_count() << ", " << status->active_fine_tune_count()
      << " of them active\n"
      << "revision      " << status->revision() << "\n"
      << "watchers      " << status->watcher_count() << "\n"
      << "calls left    " << status->upstream_calls_left() << " to Segmind in this window\n";
  for (const pb::QuotaUse& quota : status->quotas()) {
    out << "quota         " << Printable(quota.metric()) << ": " << quota.used() << " of "
        << quota.limit() << " used\n";
  }
  return kSuccess;
}

}  // namespace

void AddGet(CLI::App& app, Session& session) {
  auto flags = std::make_shared<GetFlags>();
  CLI::App* command = app.add_subcommand("get", "Show a job");
  command->add_option("name", flags->name, "The job, with or without fineTunes/")->required();
  command
      ->add_option("--max-staleness", flags->max_staleness,
                   "How old the answer may be; 0 asks Segmind now")
      ->check(IsTimespan());
  command->footer(
      "Examples:\n"
      "  finetune get 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b\n"
      "  finetune get fineTunes/0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b --max-staleness 0 --output "
      "json");
  command->callback([flags, &session] { session.exit_code = Get(session, *flags); });
}

void AddList(CLI::App& app, Session& session) {
  auto flags = std::make_shared<ListFlags>();
  CLI::App* command = app.add_subcommand("list", "List jobs, newest first; as JSON one job a line");
  command->add_option("--filter", flags->filter,
                      "Such as 'state = AVAILABLE AND labels.team = \"art\"'");
  command->add_option("--page-size", flags->page_size, "Jobs per call")
      ->check(CLI::Range(1, kLargestPage));
  command->add_option("--limit", flags->limit, "Show at most so many")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  command->add_flag("--all", flags->all, "Show all, not only the first page")->excludes("--limit");
  command->add_option("--view", flags->view, "basic (default) or full")
      ->check(CLI::IsMember({"basic", "full"}));
  command
      ->add_option("--max-staleness", flags->max_staleness,
                   "How old the answer may be; 0 asks Segmind now")
      ->check(IsTimespan());
  command->footer(
      "Examples:\n"
      "  finetune list\n"
      "  finetune list --filter 'state = FAILED' --limit 10\n"
      "  finetune list --all --output json | jq -r .name");
  command->callback([flags, &session] { session.exit_code = List(session, *flags); });
}

void AddStatus(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("status", "Show how healthy and how fresh the gateway is");
  command->footer(
      "Examples:\n  finetune status\n  finetune status --server gateway:50051 --output json");
  command->callback([&session] { session.exit_code = Status(session); });
}

}  // namespace finetune::cli
