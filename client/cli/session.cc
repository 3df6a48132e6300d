#include "client/cli/session.h"

#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>

#include <cstdlib>
#include <ostream>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"
#include "client/cli/why_unreachable.h"

namespace finetune::cli {
namespace {

// What one parameter of a job's page says; nothing for what is empty.
class Page {
 public:
  Page(std::ostream& out, const Colours& colours) : out_(out), colours_(colours) {}

  void Fact(const std::string& label, std::string_view value, std::string_view coloured = "") {
    if (value.empty() || value == "-") return;
    const std::string padding(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ');
    out_ << colours_.Dim(label) << padding
         << (coloured.empty() ? Printable(value) : std::string(coloured)) << "\n";
  }

 private:
  static constexpr size_t kLabelWidth = 16;

  std::ostream& out_;
  const Colours& colours_;
};

std::string ParametersText(const pb::TrainingParameters& parameters) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(parameters, &text).ok() || text == "{}")
    return "";
  return text;
}

void PrintTransitions(const pb::FineTune& job, std::ostream& out, const Colours& colours) {
  if (job.transitions().empty()) return;
  out << colours.Dim("history") << "\n";
  for (const pb::StateTransition& transition : job.transitions()) {
    const std::string state = StateName(transition.state());
    out << "  " << Moment(transition.time()) << "  " << colours.State(transition.state(), state)
        << std::string(state.size() < 16 ? 16 - state.size() : 1, ' ')
        << Printable(transition.upstream_status()) << "\n";
  }
}

}  // namespace

absl::Duration Session::call_timeout() const {
  // Checked when the flag was read.
  return ParseTimespan(timeout).value_or(absl::Seconds(30));
}

Colours Session::colours() const {
  const char* variable = std::getenv("NO_COLOR");
  return Colours(terminal.out && !no_color && (variable == nullptr || *variable == '\0'));
}

absl::StatusOr<FineTuneClient*> Session::Client() {
  if (client == nullptr) {
    WarnOfOpenSecrets();
    connect.timeout = call_timeout();
    // Who types an address that is wrong wants to know it at once.
    connect.wait_for_ready = false;
    auto made = Connect(server, connect);
    if (!made.ok()) return made.status();
    client = *std::move(made);
  }
  return client.get();
}

void Session::WarnOfOpenSecrets() {
  // Where programs run each other, mounted secrets are often readable for all, and nobody reads
  // this.
  if (!terminal.err) return;
  for (const std::string* path : {&connect.tls_key, &connect.token_file}) {
    struct stat facts;
    if (path->empty() || stat(path->c_str(), &facts) != 0 || (facts.st_mode & S_IROTH) == 0)
      continue;
    err << "warning: everybody on this machine may read " << *path << ": chmod o-r it\n";
  }
}

int Session::Fail(const absl::Status& status) {
  // Without a reason it comes from the connection, in words that do not name the gateway.
  const bool from_connection =
      ErrorReasonNameOf(status).empty() && !status.GetPayload(kStorageFailure);
  if (from_connection && absl::IsUnavailable(status)) {
    const Cause cause = WhyUnreachable(
        server, connect, client == nullptr ? TlsPem() : client->connection().tls_pem());
    absl::Status told = absl::UnavailableError(
        absl::StrCat("cannot reach the gateway at ", server, ": ",
                     cause.what.empty() ? std::string(status.message()) : cause.what));
    if (!cause.advice.empty()) told.SetPayload(kAdvice, absl::Cord(cause.advice));
    PrintError(told, err);
  } else if (from_connection && absl::IsDeadlineExceeded(status) &&
             status.message() == "Deadline Exceeded") {
    PrintError(absl::DeadlineExceededError(
                   absl::StrCat("the gateway at ", server, " did not answer within ", timeout)),
               err);
  } else {
    PrintError(status, err);
  }
  return ExitCodeOf(status);
}

void Session::PrintJson(const google::protobuf::Message& message) {
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text);
  if (status.ok()) out << text << "\n" << std::flush;
}

void PrintJob(Session& session, const pb::FineTune& job) {
  if (session.json()) {
    session.PrintJson(job);
    return;
  }
  const Colours colours = session.colours();
  Page page(session.out, colours);
  std::string state = StateName(job.state());
  if (job.state() == pb::FineTune::SUBMIT_UNKNOWN) state += " (being resolved)";
  page.Fact("name", job.name());
  page.Fact("display name", job.display_name());
  page.Fact("state", state, colours.State(job.state(), state));
  page.Fact("upstream", job.upstream_status());
  if (job.has_failure()) {
    page.Fact("failure", absl::StrCat(pb::Failure::Reason_Name(job.failure().reason()), ": ",
                                      job.failure().message()));
  }
  page.Fact("base model", job.base_model());
  page.Fact("theme", job.theme());
  page.Fact("train type", job.train_type());
  page.Fact("machine type", job.machine_type());
  page.Fact("prompt", job.instance_prompt());
  page.Fact("trigger word", job.trigger_word());
  page.Fact("data", job.data_source_uri());
  page.Fact("parameters", ParametersText(job.parameters()));
  if (job.visibility() != 0)
    page.Fact("visibility", pb::FineTune::Visibility_Name(job.visibility()));
  const std::map<std::string, std::string> labels(job.labels().begin(), job.labels().end());
  page.Fact("labels", absl::StrJoin(labels, ", ", absl::PairFormatter("=")));
  page.Fact("weights", job.weights_uri());
  page.Fact("inference", job.inference_uri());
  page.Fact("slug", job.slug());
  page.Fact("upstream id", job.upstream_id());
  page.Fact("creator", job.creator());
  page.Fact("created", Moment(job.create_time()));
  page.Fact("updated", Moment(job.update_time()));
  page.Fact("observed", Moment(job.observe_time()));
  page.Fact("etag", job.etag());
  PrintTransitions(job, session.out, colours);
  session.out.flush();
}

std::vector<std::string> JobHeadings() {
  return {"ID", "STATE", "BASE MODEL", "VISIBILITY", "CREATED", "UPDATED", "NAME"};
}

std::vector<Cell> JobRow(const pb::FineTune& job, absl::Time now, const Colours& colours) {
  const std::string state = StateName(job.state());
  return {{Printable(ShortName(job.name()))},
          {state, colours.State(job.state(), state)},
          {Printable(job.base_model())},
          {job.visibility() == 0 ? "-" : pb::FineTune::Visibility_Name(job.visibility())},
          {Age(job.create_time(), now)},
          {Age(job.update_time(), now)},
          {Shorten(Printable(job.display_name()), 40)}};
}

}  // namespace finetune::cli
