#pragma once

#include "google/protobuf/struct.pb.h"
#include "server/base/error.h"

namespace finetune {

// Removes the signatures of URLs in all of its strings, at any depth; see url_signature.h.
void RemoveSignatures(google::protobuf::Struct& object);

// The same for what a caller asks for: the URL of the dataset, and those among the parameters. What
// is left is what the gateway keeps, shows and compares.
void RemoveSignatures(pb::FineTune& job);

}  // namespace finetune
