#include "client/cli/job_text.h"

#include <google/protobuf/util/json_util.h>

#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/field_rows.h"
#include "client/cli/values.h"
#include "client/cpp/states.h"
#include "server/base/micros.h"

namespace finetune::cli {
namespace {

constexpr size_t kShortId = 8;

// Facts, one below the other; empty ones are left out.
class Page {
 public:
  Page(std::ostream& out, const Colours& colours) : out_(out), colours_(colours) {}

  void Fact(const std::string& label, std::string_view value, std::string_view code = "") {
    if (value.empty() || value == "-") return;
    const std::string padding(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ');
    out_ << colours_.Dim(label) << padding << colours_.Paint(code, Printable(value)) << "\n";
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

// Between two moments, if both are known.
std::string Between(const google::protobuf::Timestamp& begin,
                    const google::protobuf::Timestamp& end) {
  if (begin.seconds() == 0 || end.seconds() == 0) return "";
  return ShortDuration(ToTime(end) - ToTime(begin));
}

void PrintHistory(const pb::FineTune& job, std::ostream& out, const Colours& colours,
                  bool durations) {
  if (job.transitions().empty()) return;
  out << colours.Dim("history") << "\n";
  for (int i = 0; i < job.transitions_size(); ++i) {
    const pb::StateTransition& step = job.transitions(i);
    const std::string state = StateName(step.state());
    out << "  " << Moment(step.time()) << "  " << colours.State(step.state(), state);
    std::string took;
    if (durations && i + 1 < job.transitions_size()) {
      took = Between(step.time(), job.transitions(i + 1).time());
    } else if (durations && !IsTerminal(job.state()) && step.time().seconds() != 0) {
      took = absl::StrCat(ShortDuration(absl::Now() - ToTime(step.time())), " so far");
    }
    std::string rest = Printable(step.upstream_status());
    if (!took.empty()) rest = absl::StrCat("for ", took, rest.empty() ? "" : "  ", rest);
    if (!rest.empty()) out << std::string(state.size() < 16 ? 16 - state.size() : 1, ' ') << rest;
    out << "\n";
  }
}

std::string CostText(const pb::FineTune& job) {
  const auto amount = [](const pb::Cost& cost) {
    return absl::StrCat(ShowMicros(cost.micros()), " ", cost.unit());
  };
  if (job.has_billed_cost()) return absl::StrCat(amount(job.billed_cost()), ", as Segmind says");
  if (job.has_estimated_cost()) return absl::StrCat(amount(job.estimated_cost()), ", as estimated");
  return job.unpriced() ? "unknown: it has no price" : "";
}

void PrintFacts(Session& session, const pb::FineTune& job, bool durations) {
  const Colours colours = session.colours();
  Page page(session.out, colours);
  page.Fact("name", job.name());
  page.Fact("display name", job.display_name());
  if (job.state() != pb::FineTune::STATE_UNSPECIFIED || !job.name().empty())
    page.Fact("state", StateText(job), Colours::CodeOf(job.state()));
  page.Fact("upstream", job.upstream_status());
  if (job.has_failure()) {
    page.Fact("failure", absl::StrCat(pb::Failure::Reason_Name(job.failure().reason()), ": ",
                                      job.failure().message()));
  }
  for (const FieldRow& row : FieldRows())
    if (row.label != nullptr) page.Fact(row.label, TextOf(job, row));
  page.Fact("parameters", ParametersText(job.parameters()));
  if (job.visibility() != 0)
    page.Fact("visibility", pb::FineTune::Visibility_Name(job.visibility()));
  const std::map<std::string, std::string> labels(job.labels().begin(), job.labels().end());
  page.Fact("labels", absl::StrJoin(labels, ", ", absl::PairFormatter("=")));
  page.Fact("cost", CostText(job));
  page.Fact("weights", job.weights_uri());
  page.Fact("inference", job.inference_uri());
  if (job.details_pending()) page.Fact("more", "what belongs to this state is being fetched");
  page.Fact("upstream id", job.upstream_id());
  page.Fact("creator", job.creator());
  page.Fact("created", absl::StrCat(Moment(job.create_time()),
                                    job.create_time_estimated() ? " or before" : ""));
  page.Fact("training began", Moment(job.training_start_time()));
  page.Fact("ended", Moment(job.end_time()));
  if (durations) page.Fact("took", Between(job.create_time(), job.end_time()));
  page.Fact("updated", Moment(job.update_time()));
  page.Fact("observed", Moment(job.observe_time()));
  page.Fact("etag", job.etag());
  PrintHistory(job, session.out, colours, durations);
}

std::string AfterFailure(const pb::Failure& failure) {
  switch (failure.reason()) {
    case pb::Failure::NOT_SUBMITTED:
      return "Segmind never had it and charged nothing: create it again, with the same "
             "--request-id if you like.";
    case pb::Failure::DATASET_UNREACHABLE:
      return "Segmind could not fetch the data: look at its address, or send it with "
             "`finetune create --dataset`.";
    case pb::Failure::DATASET_INVALID:
      return "Segmind could not use the data: images belong at the top level of a zip. "
             "`finetune create --dataset DIR` looks at them first.";
    case pb::Failure::OUT_OF_MEMORY:
      return "Train on fewer or smaller images, or on another --machine-type.";
    default:
      return "A job that has failed stays so: create a new one.";
  }
}

}  // namespace

std::string CalledName(const pb::FineTune& job) {
  return Printable(job.display_name().empty() ? ShortName(job.name()) : job.display_name());
}

std::string StateText(const pb::FineTune& job) {
  return job.state() == pb::FineTune::SUBMIT_UNKNOWN ? "SUBMIT_UNKNOWN (being resolved)"
                                                     : StateName(job.state());
}

std::string NoteOf(const pb::FineTune& job) {
  if (job.has_failure()) {
    const std::string words = Printable(job.failure().message());
    return words.empty() ? pb::Failure::Reason_Name(job.failure().reason()) : words;
  }
  if (job.state() == pb::FineTune::SUBMIT_UNKNOWN) return "the submission is being resolved";
  if (job.state() == pb::FineTune::LOST) return "Segmind no longer lists it";
  if (job.details_pending()) return "details are coming";
  return "";
}

std::vector<std::string> NextSteps(const pb::FineTune& job) {
  const std::string id = Printable(ShortName(job.name()));
  const std::string download = absl::StrCat("finetune download ", id);
  switch (job.state()) {
    case pb::FineTune::AVAILABLE:
      if (job.inference_uri().empty()) return {download};
      return {download, absl::StrCat("Inference: ", Printable(job.inference_uri()))};
    case pb::FineTune::TRAINED:
    case pb::FineTune::DEPLOYING:
      return {download, absl::StrCat("finetune wait ", id)};
    case pb::FineTune::FAILED:
      return {AfterFailure(job.failure())};
    case pb::FineTune::CANCELLED:
      return {"Somebody stopped it at Segmind: create a new one if it is still wanted."};
    case pb::FineTune::LOST:
      return {
          "Segmind no longer lists it: ask whoever has the account whether it was deleted there."};
    case pb::FineTune::SUBMIT_UNKNOWN:
      return {"Do not create it again: the gateway is finding out whether Segmind has it.",
              absl::StrCat("finetune wait ", id)};
    default:
      return {absl::StrCat("finetune wait ", id), absl::StrCat("finetune watch ", id)};
  }
}

void PrintJob(Session& session, const pb::FineTune& job) {
  if (!session.for_people()) {
    session.Print(job);
    return;
  }
  if (session.printed++ > 0) session.out << "\n";
  PrintFacts(session, job, false);
  session.out.flush();
}

void PrintDescription(Session& session, const pb::FineTune& job) {
  if (!session.for_people()) {
    session.Print(job);
    return;
  }
  if (session.printed++ > 0) session.out << "\n";
  PrintFacts(session, job, true);
  session.out << session.colours().Dim("next") << "\n";
  for (const std::string& step : NextSteps(job)) session.out << "  " << step << "\n";
  session.out.flush();
}

std::vector<Column> JobColumns() {
  return {{.heading = "NAME", .least = 12},
          {.heading = "STATE"},
          {.heading = "BASE MODEL", .rank = 4},
          {.heading = "VISIBILITY", .wide_only = true},
          {.heading = "AGE", .rank = 2},
          {.heading = "UPDATED", .wide_only = true},
          {.heading = "CREATOR", .wide_only = true},
          {.heading = "LABELS", .wide_only = true},
          {.heading = "ID", .rank = 1},
          {.heading = "NOTE", .rank = 3, .least = 10}};
}

std::vector<Cell> JobRow(const pb::FineTune& job, absl::Time now, bool short_id) {
  const auto age = [&](const google::protobuf::Timestamp& time) {
    return time.seconds() == 0 ? std::string("-") : RoughDuration(now - ToTime(time));
  };
  const std::string id = Printable(ShortName(job.name()));
  const std::map<std::string, std::string> labels(job.labels().begin(), job.labels().end());
  return {{Printable(job.display_name())},
          {StateName(job.state()), Colours::CodeOf(job.state())},
          {Printable(job.base_model())},
          {job.visibility() == 0 ? "-" : pb::FineTune::Visibility_Name(job.visibility())},
          {age(job.create_time())},
          {age(job.update_time())},
          {Printable(job.creator())},
          {Printable(absl::StrJoin(labels, ",", absl::PairFormatter("=")))},
          {short_id ? id.substr(0, kShortId) : id, Colours::kDim},
          {NoteOf(job)}};
}

}  // namespace finetune::cli
