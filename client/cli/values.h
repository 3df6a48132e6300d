// What people type, as what the contract wants. Each failure is INVALID_ARGUMENT with a sentence
// for people.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/struct.pb.h>
#include <segmind/finetune/v1/fine_tune.pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune::cli {

namespace pb = ::segmind::finetune::v1;

// `fineTunes/{id}` from the id with or without the prefix.
std::string FullName(std::string_view name);
// The id alone.
std::string ShortName(std::string_view name);

// In any case, with `-` for `_`.
absl::StatusOr<pb::FineTune::State> ParseState(std::string_view text);
std::string StateName(pb::FineTune::State state);

// `90s`, `10m`, `1h30m`; a bare number is seconds.
absl::StatusOr<absl::Duration> ParseTimespan(std::string_view text);
void ToProto(absl::Duration duration, google::protobuf::Duration& proto);

// `key=value`; the value may be empty and may hold `=`.
absl::StatusOr<std::pair<std::string, std::string>> ParsePair(std::string_view text);

// One or several of `key=value`, `key!=value` and `key`, with commas between, as a filter of the
// contract.
absl::StatusOr<std::string> ParseSelector(std::string_view text);

// A whole number beyond 2^53, of which a double may be another one.
std::optional<int64_t> ParseBigInteger(std::string_view text);

// Numbers, true, false, null, JSON lists, objects and quoted strings as what they are; everything
// else as a string.
google::protobuf::Value ParseParameter(std::string_view text);

}  // namespace finetune::cli
