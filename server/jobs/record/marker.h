#pragma once

#include <string>
#include <string_view>

namespace finetune {

// A marker is what the gateway appends to the name that Segmind sees, so that a job can be found
// again when the answer to its submission was lost: "fg", nine random characters and two check
// characters, all lower-case letters and digits. It shows in the inference slug too.
std::string MakeMarker();

// Whether `text` is a marker, of this gateway or of another: by its check characters.
bool IsMarker(std::string_view text);

// The pair of conversions between a job's own name and the one that Segmind sees. An empty marker
// adds nothing.
std::string AddMarker(std::string_view display_name, std::string_view marker);

struct MarkedName {
  std::string display_name;
  std::string marker;  // Empty if the name has none.
};
MarkedName StripMarker(std::string_view upstream_name);

}  // namespace finetune
