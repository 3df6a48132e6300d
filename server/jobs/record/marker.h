#pragma once

#include <string>
#include <string_view>

namespace finetune {

// A marker is what the gateway puts into the name that Segmind sees, so that a job can be found
// again when the answer to its submission was lost: "fg", nine characters that belong to the
// submission and two check characters, all lower-case letters and digits, so that it survives what
// services do to names. It also shows in the inference slug.
//
// The same key, caller, request_id and attempt make the same marker: the job of a submission that
// the record has lost is known by it.
std::string MakeMarker(std::string_view key, std::string_view caller, std::string_view request_id,
                       int attempt);

// Whether `text` is a marker, of this gateway or of another, by its check characters; in upper or
// lower case.
bool IsMarker(std::string_view text);

// Converts between a job's own name and the one that Segmind sees. The marker comes first unless
// the whole is short, so that a name that is cut keeps it. An empty marker adds nothing.
// StripMarker finds a marker in upper or lower case, anywhere in the name.
std::string AddMarker(std::string_view display_name, std::string_view marker);

// A name as Segmind shows it, taken apart.
struct MarkedName {
  std::string display_name;
  std::string marker;  // The first one, in lower case; empty if the name has none.
};
MarkedName StripMarker(std::string_view upstream_name);

// How much of a marker a name at Segmind has, whatever became of the name's case and separators.
enum class MarkerTrace {
  kNone,
  kPart,  // The name ends within it, as one does that was cut.
  kWhole,
  kOther,  // Another marker comes first.
};
MarkerTrace TraceOf(std::string_view marker, std::string_view upstream_name);

// Only the letters and digits, in lower case: what is left of a text whatever was done to its case
// and separators.
std::string Folded(std::string_view text);

}  // namespace finetune
