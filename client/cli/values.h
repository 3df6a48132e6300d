// Converts what people type into values of the contract. Each failure is INVALID_ARGUMENT with a
// sentence for people.
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

// `fineTunes/{id}` from an id with or without the prefix.
std::string FullName(std::string_view name);
// The id without the prefix.
std::string ShortName(std::string_view name);

// A state's name, in upper or lower case, with `-` or `_`.
absl::StatusOr<pb::FineTune::State> ParseState(std::string_view text);
std::string StateName(pb::FineTune::State state);

// `90s`, `10m`, `1h30m`; a bare number is seconds.
absl::StatusOr<absl::Duration> ParseTimespan(std::string_view text);
void ToProto(absl::Duration duration, google::protobuf::Duration& proto);

// `key=value`; the value may be empty and may hold `=`.
absl::StatusOr<std::pair<std::string, std::string>> ParsePair(std::string_view text);

// Makes a filter of the contract from one or several of `key=value`, `key!=value` and `key`,
// separated by commas.
absl::StatusOr<std::string> ParseSelector(std::string_view text);

// A whole number beyond 2^53, which a double may not hold exactly; nullopt for anything else.
std::optional<int64_t> ParseBigInteger(std::string_view text);

// Parses numbers, true, false, null, and JSON lists, objects and quoted strings; anything else is a
// string.
google::protobuf::Value ParseParameter(std::string_view text);

}  // namespace finetune::cli
