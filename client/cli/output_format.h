// The formats of --output.
#pragma once

#include <google/protobuf/descriptor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/json_tree.h"

namespace finetune::cli {

// A text with paths in it, as in kubectl: `{.name}` or a bare path, and `{{.name}}` in a template.
// Paths may have members, `['a.b']`, `[2]`, `[-1]`, `[*]`; beside them there are `{"\n"}` and
// `{range .transitions[*]}…{end}`. A path that the value does not have yields nothing. Immutable.
class PathTemplate {
 public:
  // INVALID_ARGUMENT, in one sentence, for what cannot be read.
  static absl::StatusOr<PathTemplate> ParseJsonPath(std::string_view text);
  static absl::StatusOr<PathTemplate> ParseTemplate(std::string_view text);

  std::string Fill(const JsonTree& value) const;
  // A field that a path asks for, and the kind of message that does not have it.
  struct Unknown {
    std::string member;
    const google::protobuf::Descriptor* of;
  };
  // The first unknown field, for messages of this kind; nullopt if there is none. What free-form
  // JSON and maps hold is not checked.
  std::optional<Unknown> FindUnknown(const google::protobuf::Descriptor& message) const;

 private:
  struct Step {
    enum class Kind { kMember, kIndex, kAll };
    Kind kind;
    std::string member;
    int index = 0;
  };
  using Path = std::vector<Step>;
  struct Part {
    // A literal, a path, or one of the two marks of a range.
    enum class Kind { kText, kPath, kRange, kEnd };
    Kind kind = Kind::kText;
    std::string text;
    Path path;
  };

  static absl::StatusOr<Path> ParsePath(std::string_view text);
  static std::vector<const JsonTree*> Select(const JsonTree& value, const Path& path);
  absl::Status AddExpression(std::string_view expression);
  // The kind of message at the end of a path; null if there is not a message, or it is not known.
  static const google::protobuf::Descriptor* MessageAt(const google::protobuf::Descriptor* message,
                                                       const Path& path,
                                                       std::optional<Unknown>& unknown);
  // Fills the parts from `begin` up to the end of their range; returns where that is.
  size_t FillFrom(size_t begin, const JsonTree& value, std::string& out) const;

  std::vector<Part> parts_;
};

// A value of --output: json, yaml, name, csv (only of `spend`), jsonpath=…, template=…; table and
// wide are for people. Immutable.
class OutputFormat {
 public:
  enum class Kind { kTable, kWide, kJson, kYaml, kName, kCsv, kPath };

  // INVALID_ARGUMENT that names the formats.
  static absl::StatusOr<OutputFormat> Parse(std::string_view text);

  Kind kind() const { return kind_; }
  bool for_people() const { return kind_ == Kind::kTable || kind_ == Kind::kWide; }

  // The text to print for one message, given as proto3 JSON; `first`: nothing was printed before.
  std::string Write(const std::string& json, bool first) const;
  // A warning if a path asks for a field that such messages do not have; else empty.
  std::string WarningFor(const google::protobuf::Descriptor& message) const;

 private:
  Kind kind_ = Kind::kTable;
  PathTemplate path_;
};

}  // namespace finetune::cli
