#include "server/segmind/json_job.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "server/base/micros.h"
#include "server/base/url_signature.h"
#include "server/json/json_struct.h"
#include "server/segmind/error_words.h"
#include "server/segmind/job_fields.h"
#include "server/segmind/job_signatures.h"

namespace finetune {
namespace {

using google::protobuf::FieldDescriptor;

// Longer than any id of Segmind's; what is longer names nothing.
constexpr size_t kMaxId = 256;
constexpr size_t kMaxStatus = 256;
constexpr size_t kMaxName = 256;

// The names of a job that an object gives.
struct Ids {
  std::string finetune_id;
  std::string id;
  std::string request_id;
};

struct Target {
  const Scrubber& scrubber;
  UpstreamJob job;
  Ids ids;
};

using Setter = std::function<void(const JsonValue&, Target&)>;

template <std::string Ids::*field>
void SetId(const JsonValue& value, Target& target) {
  if (value.IsString() && value.GetStringLength() > kMaxId) return;
  if (value.IsBool()) return;
  std::string id = TextOf(value).value_or("");
  if (!CanNameJob(id) || target.scrubber.Finds(id)) return;
  target.ids.*field = std::move(id);
}

std::optional<std::string> CleanTextOf(const JsonValue& value, const Scrubber& scrubber) {
  std::optional<std::string> text = TextOf(value);
  if (!text) return std::nullopt;
  scrubber.Scrub(*text);
  return WithoutSignatures(*text);
}

// Whether a field is a text, a number or a flag, which the two functions below read and write.
bool IsPlain(const FieldDescriptor& field) {
  return !field.is_repeated() && field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE;
}

// True if `value` could be read into the field.
bool ReadField(const JsonValue& value, const Scrubber& scrubber, const FieldDescriptor& field,
               google::protobuf::Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (auto text = CleanTextOf(value, scrubber))
        return reflection.SetString(&message, &field, *std::move(text)), true;
      return false;
    case FieldDescriptor::CPPTYPE_INT32:
      if (auto number = Int32Of(value)) return reflection.SetInt32(&message, &field, *number), true;
      return false;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (auto number = DoubleOf(value))
        return reflection.SetDouble(&message, &field, *number), true;
      return false;
    case FieldDescriptor::CPPTYPE_BOOL:
      if (auto flag = BoolOf(value)) return reflection.SetBool(&message, &field, *flag), true;
      return false;
    default:
      return false;
  }
}

// Nothing where the message does not have it.
void WriteField(const char* name, const google::protobuf::Message& message,
                const FieldDescriptor& field, JsonWriter& writer) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (!reflection.HasField(message, &field)) return;
  writer.Key(name);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return writer.Integer(reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return writer.Number(reflection.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return writer.Bool(reflection.GetBool(message, &field));
    default:
      return writer.String(reflection.GetString(message, &field));
  }
}

void SetName(const JsonValue& value, Target& target) {
  if (auto text = CleanTextOf(value, target.scrubber)) target.job.name = *std::move(text);
}

void SetWeightsUrl(const JsonValue& value, Target& target) {
  auto text = TextOf(value);
  if (!text) return;
  const bool shows_key = target.scrubber.Finds(*text);
  if (shows_key) target.scrubber.Scrub(*text);
  std::string& bare = target.job.cloud_storage_url.emplace(WithoutSignatures(*text));
  if (bare != *text && !shows_key) target.job.signed_weights_url = Secret(*std::move(text));
}

template <std::optional<absl::Time> UpstreamJob::*field>
void SetTime(const JsonValue& value, Target& target) {
  target.job.*field = TimeOf(value);
  if (!(target.job.*field)) ++target.job.unread_times;
}

void SetStatus(const JsonValue& value, Target& target) {
  if (!value.IsString()) return;
  std::string status = TextOf(value).value_or("");
  target.scrubber.Scrub(status);
  target.job.status = ValidUtf8(status, kMaxStatus);
}

void SetPublic(const JsonValue& value, Target& target) {
  if (auto flag = BoolOf(value)) target.job.is_public = *flag;
}

// An error may be an object; the words are then in one of its members.
void SetError(const JsonValue& value, Target& target) {
  std::optional<std::string> words = TextOf(value);
  for (const char* name : {"message", "error", "detail"}) {
    const JsonValue* inner = MemberOf(value, name);
    if (inner == nullptr) continue;
    words = TextOf(*inner);
    break;
  }
  if (words) {
    target.job.error_message =
        ValidUtf8(WithoutCredentials(*words, target.scrubber), kMaxJsonString);
  }
}

// No field for it is documented; these are the names that Segmind uses elsewhere, or might.
void SetBilled(const JsonValue& value, Target& target) {
  if (const auto amount = DoubleOf(value)) target.job.billed_micros = MicrosOf(*amount);
}

void SetModelInformation(const JsonValue& value, Target& target) {
  if (!value.IsObject()) return;
  StructBudget budget;
  google::protobuf::Struct information = ToStruct(value, budget);
  RemoveSignatures(information);
  target.scrubber.Scrub(information);
  target.job.model_information = std::move(information);
}

// True if `value` could be read into the field that the contract has for this parameter.
bool SetKnownParameter(std::string_view name, const JsonValue& value, const Scrubber& scrubber,
                       pb::TrainingParameters& parameters) {
  const FieldDescriptor* field = parameters.GetDescriptor()->FindFieldByName(std::string(name));
  return field != nullptr && IsPlain(*field) && ReadField(value, scrubber, *field, parameters);
}

// Takes a whole number that a Struct cannot hold. False if it is none, or if 64 bits do not hold it
// either: the Struct then has it as text.
bool SetInteger(std::string_view name, const JsonValue& value, pb::TrainingParameters& parameters) {
  constexpr int64_t kExact = int64_t{1} << 53;
  constexpr int kMaxIntegers = 256;
  if (!value.IsInt64() || (value.GetInt64() <= kExact && value.GetInt64() >= -kExact)) return false;
  if (parameters.integers_size() >= kMaxIntegers) return false;
  (*parameters.mutable_integers())[ValidUtf8(name, kMaxName)] = value.GetInt64();
  return true;
}

void ScrubIntegers(const Scrubber& scrubber, pb::TrainingParameters& parameters) {
  std::vector<std::string> found;
  for (const auto& [name, value] : parameters.integers())
    if (scrubber.Finds(name)) found.push_back(name);
  for (const std::string& name : found) parameters.mutable_integers()->erase(name);
}

void SetParameters(const JsonValue& value, Target& target) {
  if (!value.IsObject()) return;
  pb::TrainingParameters parameters;
  google::protobuf::Struct extra;
  StructBudget budget;
  --budget.depth;
  for (const auto& member : value.GetObject()) {
    if (member.value.IsNull()) continue;
    // A known parameter that its field cannot hold, such as more steps than an int32, is shown
    // among the others rather than lost.
    if (SetKnownParameter(RawText(member.name), member.value, target.scrubber, parameters))
      continue;
    if (SetInteger(RawText(member.name), member.value, parameters)) continue;
    AddToStruct(RawText(member.name), member.value, budget, extra);
  }
  ScrubIntegers(target.scrubber, parameters);
  RemoveSignatures(extra);
  target.scrubber.Scrub(extra);
  if (extra.fields_size() > 0) *parameters.mutable_extra() = std::move(extra);
  target.job.parameters = std::move(parameters);
}

absl::flat_hash_map<absl::string_view, Setter> MakeSetters() {
  absl::flat_hash_map<absl::string_view, Setter> setters = {
      {"finetune_id", SetId<&Ids::finetune_id>},
      {"id", SetId<&Ids::id>},
      {"request_id", SetId<&Ids::request_id>},
      {"status", SetStatus},
      {"name", SetName},
      {"error_message", SetError},
      {"cloud_storage_url", SetWeightsUrl},
      {"public_model", SetPublic},
      {"segmind_public_model", SetPublic},
      {"segmind_public", SetPublic},
      {"created_ts", SetTime<&UpstreamJob::created>},
      {"updated_ts", SetTime<&UpstreamJob::updated>},
      {"advance_parameters", SetParameters},
      {"model_information", SetModelInformation},
      {"credits_used", SetBilled},
      {"credits_charged", SetBilled},
      {"cost", SetBilled},
      {"price", SetBilled},
  };
  for (const JobField& row : JobFields()) {
    setters[row.upstream_name] = [field = row.field](const JsonValue& value, Target& target) {
      ReadField(value, target.scrubber, *field, target.job.fields);
    };
  }
  return setters;
}

const absl::flat_hash_map<absl::string_view, Setter>& Setters() {
  static const auto& setters = *new absl::flat_hash_map<absl::string_view, Setter>(MakeSetters());
  return setters;
}

void WriteParameters(const pb::TrainingParameters& parameters, JsonWriter& writer) {
  writer.StartObject();
  const auto* type = pb::TrainingParameters::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor& field = *type->field(i);
    if (IsPlain(field)) WriteField(field.name().c_str(), parameters, field, writer);
  }
  for (const auto& [name, value] : parameters.extra().fields()) {
    writer.Key(name);
    WriteJson(value, writer);
  }
  for (const auto& [name, value] : parameters.integers()) {
    writer.Key(name);
    writer.Integer(value);
  }
  writer.EndObject();
}

}  // namespace

std::optional<UpstreamJob> JobOf(const JsonValue& object, const Scrubber& scrubber) {
  if (!object.IsObject()) return std::nullopt;
  Target target{.scrubber = scrubber, .job = {}, .ids = {}};
  for (const auto& member : object.GetObject()) {
    if (member.value.IsNull()) continue;
    const auto setter =
        Setters().find(absl::string_view(member.name.GetString(), member.name.GetStringLength()));
    if (setter != Setters().end()) setter->second(member.value, target);
  }
  UpstreamJob& job = target.job;
  const Ids& ids = target.ids;
  for (const std::string* id : {&ids.finetune_id, &ids.id, &ids.request_id}) {
    if (id->empty()) continue;
    if (job.id.empty()) job.id = *id;
    if (job.request_id.empty() && *id != job.id) job.request_id = *id;
  }
  if (job.id.empty()) return std::nullopt;
  return std::move(job);
}

std::optional<UpstreamJob> JobInAnswer(const JsonValue& answer, const Scrubber& scrubber) {
  const JsonValue* inner = MemberOf(answer, "finetune");
  return JobOf(inner != nullptr && inner->IsObject() ? *inner : answer, scrubber);
}

std::string SubmitBody(const pb::FineTune& fine_tune, std::string_view upstream_name) {
  JsonWriter writer;
  writer.StartObject();
  writer.Key("name");
  writer.String(std::string(upstream_name));
  for (const JobField& row : JobFields())
    if (row.input) WriteField(row.upstream_name, fine_tune, *row.field, writer);
  writer.Key("segmind_public");
  writer.Bool(fine_tune.visibility() == pb::FineTune::PUBLIC);
  writer.Key("advance_parameters");
  WriteParameters(fine_tune.parameters(), writer);
  writer.EndObject();
  return writer.text();
}

}  // namespace finetune
