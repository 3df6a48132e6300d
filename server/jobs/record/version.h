#pragma once

#include <grpcpp/support/slice.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/container/btree_map.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/segmind/upstream_job.h"
#include "server/store/record.pb.h"

namespace finetune {

// One committed version of one job: what filters, joins and lists look at, and its bytes, ready to
// be sent. Immutable, so it is shared without locks by the catalog, the window of changes and the
// streams.
struct FineTuneVersion {
  std::string id;  // Without `fineTunes/`.
  uint64_t revision = 0;
  uint64_t first_revision = 0;

  // What filters see: kComparedFields.
  pb::FineTune::State state = pb::FineTune::STATE_UNSPECIFIED;
  pb::FineTune::Visibility visibility = pb::FineTune::VISIBILITY_UNSPECIFIED;
  std::string base_model;
  std::string theme;
  std::string creator;
  std::string display_name;
  std::string upstream_id;
  absl::Time create_time;
  absl::Time update_time;
  absl::btree_map<std::string, std::string> labels;

  // What joins see; see record.proto.
  std::string upstream_request_id;
  std::string marker;
  std::string request_id;
  std::string charge;    // Serialised; empty if there is none.
  absl::Time read_time;  // Of the day, and perhaps of an earlier process.
  uint64_t read = 0;
  uint64_t shown_read = 0;
  bool details_known = false;
  bool dormant = false;
  bool details_pending = false;

  // A serialised pb::FineTune: all of it, and without transitions and model_information. `basic`
  // shares the memory of `full`.
  grpc::Slice full;
  grpc::Slice basic;
  // What filters see, too; of the bytes in `full`.
  std::string_view instance_prompt;
  std::string_view trigger_word;

  const grpc::Slice& Bytes(pb::FineTuneView view) const {
    return view == pb::FINE_TUNE_VIEW_FULL ? full : basic;
  }

  // It goes on, as far as is known: what polls are made for and limits count.
  bool active() const { return !IsTerminal(state) && !dormant; }
};

using VersionPtr = std::shared_ptr<const FineTuneVersion>;

// A field of pb::FineTune that a version keeps aside, because filters compare it, and where.
struct ComparedField {
  int number;  // In pb::FineTune.
  std::variant<std::string FineTuneVersion::*, absl::Time FineTuneVersion::*,
               pb::FineTune::State FineTuneVersion::*, pb::FineTune::Visibility FineTuneVersion::*,
               absl::btree_map<std::string, std::string> FineTuneVersion::*>
      member;
};
// From the one of which the fewest jobs are likely to share a value to the one of which the most.
inline constexpr ComparedField kComparedFields[] = {
    {pb::FineTune::kUpstreamIdFieldNumber, &FineTuneVersion::upstream_id},
    {pb::FineTune::kDisplayNameFieldNumber, &FineTuneVersion::display_name},
    {pb::FineTune::kLabelsFieldNumber, &FineTuneVersion::labels},
    {pb::FineTune::kCreatorFieldNumber, &FineTuneVersion::creator},
    {pb::FineTune::kThemeFieldNumber, &FineTuneVersion::theme},
    {pb::FineTune::kBaseModelFieldNumber, &FineTuneVersion::base_model},
    {pb::FineTune::kStateFieldNumber, &FineTuneVersion::state},
    {pb::FineTune::kVisibilityFieldNumber, &FineTuneVersion::visibility},
    {pb::FineTune::kCreateTimeFieldNumber, &FineTuneVersion::create_time},
    {pb::FineTune::kUpdateTimeFieldNumber, &FineTuneVersion::update_time},
};

// The pair of conversions. `record` must be complete: name, revision and first_revision set.
VersionPtr MakeVersion(const record::FineTuneRecord& record);
record::FineTuneRecord ToRecord(const FineTuneVersion& version);

// MakeVersion from a serialised record, without making the message; null if these bytes are none.
VersionPtr ParseVersion(std::string_view serialised_record);
// The same bytes for equal records.
std::string SerialiseRecord(const record::FineTuneRecord& record);

// `fineTunes/{id}` and back; nullopt if it has not that form.
std::string NameOf(std::string_view id);
std::optional<std::string> IdOf(std::string_view name);

}  // namespace finetune
