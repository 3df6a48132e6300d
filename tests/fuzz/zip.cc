#include "server/dataset/dataset_inspector.h"
#include "server/dataset/zip_directory.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// The first byte says how large the file claims to be beyond what is here.
void Fuzz(std::string_view input) {
  if (input.empty()) return;
  const uint64_t beyond = static_cast<unsigned char>(input[0]) * 1000;
  const std::string bytes(input.substr(1));
  uint64_t told = 0;
  const ZipDirectory directory =
      ReadZipDirectory(bytes, bytes.size() + beyond, [&](const ZipEntry& entry) {
        ++told;
        CHECK(entry.name.empty() ||
              (entry.name.data() >= bytes.data() &&
               entry.name.data() + entry.name.size() <= bytes.data() + bytes.size()));
      });
  CHECK(directory.entries == told);

  // In pieces or at once, and whatever size was announced: the same is found.
  DatasetInspector whole(static_cast<int64_t>(bytes.size()));
  DatasetInspector pieces(static_cast<int64_t>(bytes.size()));
  whole.Write(bytes);
  for (size_t at = 0; at < bytes.size(); at += 7)
    pieces.Write(std::string_view(bytes).substr(at, 7));
  const DatasetFindings one = whole.Finish();
  const DatasetFindings other = pieces.Finish();
  CHECK(one.image_count == other.image_count && one.warnings == other.warnings);
  for (const std::string& warning : one.warnings) CHECK(IsValid(warning) && !warning.empty());

  DatasetInspector wrong(static_cast<int64_t>(bytes.size() + beyond));
  wrong.Write(bytes);
  wrong.Finish();
}

}  // namespace finetune
