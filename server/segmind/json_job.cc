#include "server/segmind/json_job.h"

#include <google/protobuf/descriptor.h>

#include <array>
#include <utility>
#include <variant>
#include <vector>

#include "server/base/check.h"
#include "server/base/micros.h"
#include "server/base/url_signature.h"
#include "server/json/json_struct.h"
#include "server/json/plain_json.h"
#include "server/segmind/error_words.h"
#include "server/segmind/job_fields.h"
#include "server/segmind/job_signatures.h"

namespace finetune {
namespace {

using google::protobuf::FieldDescriptor;

// Longer than any id of Segmind's; a longer one names nothing.
constexpr size_t kMaxId = 256;
constexpr size_t kMaxStatus = 256;
constexpr size_t kMaxName = 256;

// The ids that an object gives for a job.
struct Ids {
  std::string finetune_id;
  std::string id;
  std::string request_id;
};

struct Target {
  const Scrubber& scrubber;
  UpstreamJob& job;
  Ids ids;
};

struct IdName {
  std::string_view name;
  std::string Ids::*id;
};

// The first id here that is present names the job.
constexpr IdName kIdNames[] = {
    {"finetune_id", &Ids::finetune_id}, {"id", &Ids::id}, {"request_id", &Ids::request_id}};

void ReadId(const JsonValue& value, const Scrubber& scrubber, std::string& to) {
  if (value.IsString() && value.GetStringLength() > kMaxId) return;
  if (value.IsBool()) return;
  std::string id = TextOf(value).value_or("");
  if (!CanNameJob(id) || scrubber.Finds(id)) return;
  to = std::move(id);
}

template <std::string Ids::*field>
void SetId(const JsonValue& value, Target& target) {
  ReadId(value, target.scrubber, target.ids.*field);
}

std::optional<std::string> CleanTextOf(const JsonValue& value, const Scrubber& scrubber) {
  std::optional<std::string> text = TextOf(value);
  if (!text) return std::nullopt;
  scrubber.Scrub(*text);
  if (IsSigned(*text)) text = WithoutSignatures(*text);
  return text;
}

// Reads a value into a field of a job. A value that cannot be read leaves the field unchanged.
struct FieldReader {
  const JsonValue& value;
  const Scrubber& scrubber;
  pb::FineTune& to;

  void operator()(const TextMember& member) const {
    if (auto text = CleanTextOf(value, scrubber)) *(to.*member.edit)() = *std::move(text);
  }
  void operator()(const ScalarMember<int32_t>& member) const {
    if (auto number = Int32Of(value)) (to.*member.set)(*number);
  }
  void operator()(const ScalarMember<double>& member) const {
    if (auto number = DoubleOf(value)) (to.*member.set)(*number);
  }
  void operator()(const ScalarMember<bool>& member) const {
    if (auto flag = BoolOf(value)) (to.*member.set)(*flag);
  }
};

// Writes a field that is set.
struct FieldWriter {
  std::string_view name;
  const pb::FineTune& from;
  JsonWriter& writer;

  void operator()(const TextMember& member) const {
    const std::string& text = (from.*member.get)();
    if (text.empty()) return;
    writer.Key(name);
    writer.String(text);
  }
  void operator()(const ScalarMember<int32_t>& member) const {
    if ((from.*member.get)() == 0) return;
    writer.Key(name);
    writer.Integer((from.*member.get)());
  }
  void operator()(const ScalarMember<double>& member) const {
    if ((from.*member.get)() == 0) return;
    writer.Key(name);
    writer.Number((from.*member.get)());
  }
  void operator()(const ScalarMember<bool>& member) const {
    if (!(from.*member.get)()) return;
    writer.Key(name);
    writer.Bool(true);
  }
};

void SetName(const JsonValue& value, Target& target) {
  if (auto text = CleanTextOf(value, target.scrubber)) target.job.name = *std::move(text);
}

void SetWeightsUrl(const JsonValue& value, Target& target) {
  auto text = TextOf(value);
  if (!text) return;
  const bool shows_key = target.scrubber.Finds(*text);
  if (shows_key) target.scrubber.Scrub(*text);
  if (!IsSigned(*text)) {
    target.job.cloud_storage_url = std::move(text);
    return;
  }
  target.job.cloud_storage_url = WithoutSignatures(*text);
  if (!shows_key) target.job.signed_weights_url = Secret(*std::move(text));
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
  target.job.status =
      status.size() <= kMaxStatus ? std::move(status) : ValidUtf8(status, kMaxStatus);
}

void SetPublic(const JsonValue& value, Target& target) {
  if (auto flag = BoolOf(value)) target.job.is_public = *flag;
}

// An error may be an object, whose words are in one of its members.
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

// The cost has no documented member; these are names that Segmind uses elsewhere, or might use.
void SetBilled(const JsonValue& value, Target& target) {
  if (const auto amount = DoubleOf(value)) target.job.billed_micros = MicrosOf(*amount);
}

void SetModelInformation(const JsonValue& value, Target& target) {
  if (!value.IsObject()) return;
  StructBudget budget;
  google::protobuf::Struct& information = target.job.model_information.emplace();
  AddMembers(value, budget, information);
  RemoveSignatures(information);
  target.scrubber.Scrub(information);
}

// The parameters for which the contract has a field: scalar ones, by name.
const std::vector<const FieldDescriptor*>& KnownParameters() {
  static const auto& fields = *new std::vector<const FieldDescriptor*>([] {
    std::vector<const FieldDescriptor*> plain;
    const auto* type = pb::TrainingParameters::descriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (!field->is_repeated() && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
        plain.push_back(field);
    }
    return plain;
  }());
  return fields;
}

// True if `value` could be read into the field.
bool ReadParameter(const JsonValue& value, const Scrubber& scrubber, const FieldDescriptor& field,
                   pb::TrainingParameters& parameters) {
  const google::protobuf::Reflection& reflection = *parameters.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (auto text = CleanTextOf(value, scrubber))
        return reflection.SetString(&parameters, &field, *std::move(text)), true;
      return false;
    case FieldDescriptor::CPPTYPE_INT32:
      if (auto number = Int32Of(value))
        return reflection.SetInt32(&parameters, &field, *number), true;
      return false;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (auto number = DoubleOf(value))
        return reflection.SetDouble(&parameters, &field, *number), true;
      return false;
    case FieldDescriptor::CPPTYPE_BOOL:
      if (auto flag = BoolOf(value)) return reflection.SetBool(&parameters, &field, *flag), true;
      return false;
    default:
      return false;
  }
}

// Writes nothing if the parameters do not have the field.
void WriteParameter(const pb::TrainingParameters& parameters, const FieldDescriptor& field,
                    JsonWriter& writer) {
  const google::protobuf::Reflection& reflection = *parameters.GetReflection();
  if (!reflection.HasField(parameters, &field)) return;
  writer.Key(field.name());
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return writer.Integer(reflection.GetInt32(parameters, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return writer.Number(reflection.GetDouble(parameters, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return writer.Bool(reflection.GetBool(parameters, &field));
    default:
      return writer.String(reflection.GetString(parameters, &field));
  }
}

// True if `value` could be read into the field that the contract has for this parameter.
bool SetKnownParameter(std::string_view name, const JsonValue& value, const Scrubber& scrubber,
                       pb::TrainingParameters& parameters) {
  for (const FieldDescriptor* field : KnownParameters())
    if (field->name() == name) return ReadParameter(value, scrubber, *field, parameters);
  return false;
}

// Takes a whole number that a Struct cannot hold. False if it is not one, or if 64 bits cannot hold
// it either: the Struct then has it as text.
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
  pb::TrainingParameters& parameters = target.job.parameters.emplace();
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
}

// Reads one member of a job's object: with a function of its own, or by the row of a field.
struct Reader {
  std::string_view name;
  void (*read)(const JsonValue&, Target&) = nullptr;
  const JobField* field = nullptr;

  void operator()(const JsonValue& value, Target& target) const {
    if (read != nullptr) return read(value, target);
    std::visit(FieldReader{value, target.scrubber, target.job.fields}, field->member);
  }
};

constexpr Reader kReaders[] = {
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

// Finds a reader by name, first by length: few names have the same length, and most lookups need no
// comparison.
class Readers {
 public:
  Readers() {
    for (const Reader& reader : kReaders) Add(reader);
    for (const JobField& field : JobFields()) Add({.name = field.upstream_name, .field = &field});
  }

  const Reader* Find(std::string_view name) const {
    if (name.size() > kLongest) return nullptr;
    for (const Reader& reader : by_size_[name.size()])
      if (reader.name == name) return &reader;
    return nullptr;
  }

 private:
  static constexpr size_t kLongest = 32;

  void Add(const Reader& reader) {
    CHECK(reader.name.size() <= kLongest);
    by_size_[reader.name.size()].push_back(reader);
  }

  std::array<std::vector<Reader>, kLongest + 1> by_size_;
};

const Reader* ReaderOf(std::string_view name) {
  static const auto& readers = *new Readers();
  return readers.Find(name);
}

void WriteParameters(const pb::TrainingParameters& parameters, JsonWriter& writer) {
  writer.StartObject();
  for (const FieldDescriptor* field : KnownParameters()) WriteParameter(parameters, *field, writer);
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

// Receives a job's object and keeps nothing of it except what may be its ids.
class IdFinder {
 public:
  // Empty if there is none that can name a job.
  std::string Id(const Scrubber& scrubber) const {
    std::string id;
    for (size_t i = 0; i < std::size(kIdNames) && id.empty(); ++i) ReadId(found_[i], scrubber, id);
    return id;
  }

  // RapidJSON's handler interface.
  using Size = rapidjson::SizeType;
  bool Null() { return Take(JsonValue()); }
  bool Bool(bool flag) { return Take(JsonValue(flag)); }
  bool Int64(int64_t number) { return Take(JsonValue(number)); }
  bool Uint64(uint64_t number) { return Take(JsonValue(number)); }
  bool Double(double number) { return Take(JsonValue(number)); }
  bool String(const char* text, Size size, bool) {
    return Take(JsonValue(rapidjson::StringRef(text, size)));
  }
  bool Key(const char* text, Size size, bool) {
    next_ = nullptr;
    if (depth_ != 1) return true;
    for (size_t i = 0; i < std::size(kIdNames); ++i)
      if (std::string_view(text, size) == kIdNames[i].name) next_ = &found_[i];
    // JobOf decides which of two counts.
    return next_ == nullptr || next_->IsNull();
  }
  bool StartObject() { return Go(1); }
  bool EndObject(Size) { return Go(-1); }
  bool StartArray() { return Go(1); }
  bool EndArray(Size) { return Go(-1); }

 private:
  bool Take(JsonValue value) {
    if (next_ != nullptr) *next_ = std::move(value);
    next_ = nullptr;
    return true;
  }
  bool Go(int levels) {
    next_ = nullptr;
    depth_ += levels;
    return true;
  }

  JsonValue found_[std::size(kIdNames)];  // By their names, in the order of these.
  JsonValue* next_ = nullptr;             // Which of them the next value is.
  int depth_ = 0;
};

// Chooses the job's id and its other name. False if there is none.
bool TakeIds(Ids& ids, UpstreamJob& job) {
  for (const IdName& name : kIdNames) {
    std::string& id = ids.*name.id;
    if (id.empty()) continue;
    if (job.id.empty())
      job.id = std::move(id);
    else if (job.request_id.empty() && id != job.id)
      job.request_id = std::move(id);
  }
  return !job.id.empty();
}

}  // namespace

std::optional<UpstreamJob> JobOf(const JsonValue& object, const Scrubber& scrubber) {
  std::optional<UpstreamJob> job;
  if (!ReadJob(object, scrubber, job.emplace())) job.reset();
  return job;
}

bool ReadJob(const JsonValue& object, const Scrubber& scrubber, UpstreamJob& job) {
  if (!object.IsObject()) return false;
  Target target{.scrubber = scrubber, .job = job, .ids = {}};
  for (const auto& member : object.GetObject()) {
    if (member.value.IsNull()) continue;
    if (const Reader* reader = ReaderOf(RawText(member.name))) (*reader)(member.value, target);
  }
  return TakeIds(target.ids, job);
}

std::optional<std::string> JobIdOf(std::string_view text, JsonParser& parser,
                                   const Scrubber& scrubber) {
  IdFinder finder;
  if (PlainJson<IdFinder>::Read(text, finder)) return finder.Id(scrubber);
  const JsonValue* value = parser.Parse(text);
  if (value == nullptr) return std::nullopt;
  const std::optional<UpstreamJob> job = JobOf(*value, scrubber);
  return job ? job->id : "";
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
    if (row.input) std::visit(FieldWriter{row.upstream_name, fine_tune, writer}, row.member);
  writer.Key("segmind_public");
  writer.Bool(fine_tune.visibility() == pb::FineTune::PUBLIC);
  writer.Key("advance_parameters");
  WriteParameters(fine_tune.parameters(), writer);
  writer.EndObject();
  return writer.text();
}

}  // namespace finetune
