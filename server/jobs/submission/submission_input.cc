#include "server/jobs/submission/submission_input.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "server/base/sha256.h"
#include "server/segmind/job_fields.h"
#include "server/segmind/job_signatures.h"

namespace finetune {

pb::FineTune SignedInputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input = InputOf(fine_tune);
  if (input.visibility() == pb::FineTune::VISIBILITY_UNSPECIFIED)
    input.set_visibility(pb::FineTune::PRIVATE);
  return input;
}

pb::FineTune UnsignedInputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input = SignedInputOf(fine_tune);
  RemoveSignatures(input);
  return input;
}

std::string FingerprintOf(const pb::FineTune& fine_tune) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    UnsignedInputOf(fine_tune).SerializeToCodedStream(&coded);
  }
  return Sha256Of(bytes);
}

}  // namespace finetune
