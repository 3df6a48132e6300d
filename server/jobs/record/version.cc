#include "server/jobs/record/version.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <vector>

#include "server/base/check.h"
#include "server/base/time_proto.h"
#include "server/base/utf8.h"
#include "server/jobs/record/wire.h"

namespace finetune {
namespace {

using Record = record::FineTuneRecord;
using FineTune = pb::FineTune;

constexpr std::string_view kCollection = "fineTunes/";

bool OnlyInFull(uint32_t field) {
  return field == FineTune::kModelInformationFieldNumber ||
         field == FineTune::kTransitionsFieldNumber;
}

bool ReadTime(std::string_view bytes, absl::Time& time) {
  WireReader reader(bytes);
  int64_t seconds = 0;
  int64_t nanos = 0;
  while (reader.Next()) {
    if (reader.field() == 1) seconds = static_cast<int64_t>(reader.number());
    if (reader.field() == 2) nanos = static_cast<int32_t>(reader.number());
  }
  time = absl::FromUnixSeconds(seconds) + absl::Nanoseconds(nanos);
  return reader.ok();
}

bool ReadLabel(std::string_view bytes, absl::btree_map<std::string, std::string>& labels) {
  WireReader reader(bytes);
  std::string_view key;
  std::string_view value;
  while (reader.Next()) {
    if (reader.field() == 1) key = reader.bytes();
    if (reader.field() == 2) value = reader.bytes();
  }
  labels.insert_or_assign(std::string(key), std::string(value));
  return reader.ok();
}

// By the field's number; null for fields that are not compared.
const ComparedField* ComparedFieldOf(uint32_t number) {
  static const auto& by_number = *new std::vector<const ComparedField*>([] {
    std::vector<const ComparedField*> rows;
    for (const ComparedField& row : kComparedFields) {
      if (rows.size() <= static_cast<size_t>(row.number)) rows.resize(row.number + 1);
      rows[row.number] = &row;
    }
    return rows;
  }());
  return number < by_number.size() ? by_number[number] : nullptr;
}

// Reads one field of a FineTune into the member of a version that keeps it.
struct MemberReader {
  const WireReader& field;
  FineTuneVersion& version;

  bool operator()(std::string FineTuneVersion::*member) const {
    version.*member = field.bytes();
    return true;
  }
  bool operator()(absl::Time FineTuneVersion::*member) const {
    return ReadTime(field.bytes(), version.*member);
  }
  bool operator()(absl::btree_map<std::string, std::string> FineTuneVersion::*member) const {
    return ReadLabel(field.bytes(), version.*member);
  }
  template <typename Enum>
  bool operator()(Enum FineTuneVersion::*member) const {
    version.*member = static_cast<Enum>(field.number());
    return true;
  }
};

bool ReadMember(const WireReader& field, FineTuneVersion& version) {
  switch (field.field()) {
    case FineTune::kNameFieldNumber:
      if (auto id = IdOf(field.bytes())) version.id = *std::move(id);
      return true;
    case FineTune::kRevisionFieldNumber:
      version.revision = field.number();
      return true;
    case FineTune::kDetailsPendingFieldNumber:
      version.details_pending = field.number() != 0;
      return true;
    default:
      const ComparedField* compared = ComparedFieldOf(field.field());
      return compared == nullptr || std::visit(MemberReader{field, version}, compared->member);
  }
}

bool IsUtf8(std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
  return ascii || ValidUtf8(text) == text;
}

// Whether these bytes from a disk will parse as a message of that type. Parsing them would take ten
// times as long.
bool IsParseable(std::string_view bytes, const google::protobuf::Descriptor& type, int depth) {
  if (depth == 0) return false;
  WireReader reader(bytes);
  while (reader.Next()) {
    const auto* field = type.FindFieldByNumber(static_cast<int>(reader.field()));
    if (field == nullptr) continue;
    if (field->type() == google::protobuf::FieldDescriptor::TYPE_STRING) {
      if (!IsUtf8(reader.bytes())) return false;
    } else if (field->type() == google::protobuf::FieldDescriptor::TYPE_MESSAGE) {
      if (!IsParseable(reader.bytes(), *field->message_type(), depth - 1)) return false;
    }
  }
  return reader.ok();
}

// On the wire, fields may come in any order. With those of the full view last, the basic view is a
// prefix of the same bytes and costs no memory of its own.
bool ReadFineTune(std::string_view bytes, FineTuneVersion& version) {
  constexpr int kMaxDepth = 90;  // Protobuf itself stops at 100.
  if (!IsParseable(bytes, *FineTune::descriptor(), kMaxDepth)) return false;
  size_t tail = 0;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (OnlyInFull(reader.field())) tail += reader.whole().size();
    if (!ReadMember(reader, version)) return false;
  }
  if (!reader.ok()) return false;
  version.full = grpc::Slice(bytes.size());
  char* front = reinterpret_cast<char*>(const_cast<uint8_t*>(version.full.begin()));
  char* back = front + bytes.size() - tail;
  WireReader copy(bytes);
  while (copy.Next()) {
    char*& to = OnlyInFull(copy.field()) ? back : front;
    to = std::copy(copy.whole().begin(), copy.whole().end(), to);
    const std::string_view kept(to - copy.bytes().size(), copy.bytes().size());
    if (copy.field() == FineTune::kInstancePromptFieldNumber) version.instance_prompt = kept;
    if (copy.field() == FineTune::kTriggerWordFieldNumber) version.trigger_word = kept;
  }
  version.basic = tail == 0 ? version.full : version.full.sub(0, bytes.size() - tail);
  return true;
}

bool ReadRecord(std::string_view bytes, FineTuneVersion& version) {
  bool has_fine_tune = false;
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case Record::kFineTuneFieldNumber:
        if (has_fine_tune || !ReadFineTune(reader.bytes(), version)) return false;
        has_fine_tune = true;
        break;
      case Record::kUpstreamRequestIdFieldNumber:
        version.upstream_request_id = reader.bytes();
        break;
      case Record::kMarkerFieldNumber:
        version.marker = reader.bytes();
        break;
      case Record::kFirstRevisionFieldNumber:
        version.first_revision = reader.number();
        break;
      case Record::kReadTimeFieldNumber:
        if (!ReadTime(reader.bytes(), version.read_time)) return false;
        break;
      case Record::kDetailsKnownFieldNumber:
        version.details_known = reader.number() != 0;
        break;
      case Record::kReadFieldNumber:
        version.read = reader.number();
        break;
      case Record::kShownReadFieldNumber:
        version.shown_read = reader.number();
        break;
      case Record::kDormantFieldNumber:
        version.dormant = reader.number() != 0;
        break;
      case Record::kRequestIdFieldNumber:
        version.request_id = reader.bytes();
        break;
      case Record::kChargeFieldNumber:
        version.charge = reader.bytes();
        break;
      default:
        break;
    }
  }
  return reader.ok() && has_fine_tune && !version.id.empty();
}

}  // namespace

VersionPtr ParseVersion(std::string_view serialised_record) {
  auto version = std::make_shared<FineTuneVersion>();
  if (!ReadRecord(serialised_record, *version)) return nullptr;
  return version;
}

VersionPtr MakeVersion(const record::FineTuneRecord& record) {
  VersionPtr version = ParseVersion(SerialiseRecord(record));
  CHECK(version != nullptr);
  return version;
}

record::FineTuneRecord ToRecord(const FineTuneVersion& version) {
  Record record;
  CHECK(record.mutable_fine_tune()->ParseFromArray(version.full.begin(),
                                                   static_cast<int>(version.full.size())));
  record.set_upstream_request_id(version.upstream_request_id);
  record.set_marker(version.marker);
  record.set_first_revision(version.first_revision);
  if (version.read_time != absl::UnixEpoch()) {
    *record.mutable_read_time() = ToProto(version.read_time);
  }
  record.set_read(version.read);
  record.set_shown_read(version.shown_read);
  record.set_dormant(version.dormant);
  record.set_details_known(version.details_known);
  record.set_request_id(version.request_id);
  // A charge that cannot be read counts as none.
  if (!version.charge.empty() && !record.mutable_charge()->ParseFromString(version.charge))
    record.clear_charge();
  return record;
}

std::string SerialiseRecord(const record::FineTuneRecord& record) {
  std::string bytes;
  bytes.reserve(record.ByteSizeLong());
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    record.SerializeWithCachedSizes(&coded);
  }
  return bytes;
}

std::string NameOf(std::string_view id) {
  std::string name(kCollection);
  name += id;
  return name;
}

std::optional<std::string> IdOf(std::string_view name) {
  if (!name.starts_with(kCollection)) return std::nullopt;
  name.remove_prefix(kCollection.size());
  if (name.empty() || name.find('/') != std::string_view::npos) return std::nullopt;
  return std::string(name);
}

}  // namespace finetune
