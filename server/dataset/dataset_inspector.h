#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace finetune {

// Segmind takes datasets below this, for every base model that it documents.
inline constexpr int64_t kDatasetLimitBytes = int64_t{100} << 20;

// What a dataset that passed by was like.
struct DatasetFindings {
  // Images that training would see: at the top level, not encrypted.
  int image_count = 0;
  // What Segmind may refuse or handle badly: one sentence for each kind of fault, however many
  // entries have it.
  std::vector<std::string> warnings;
  // The one of them that will make training fail; empty if none will.
  std::string fault;
  // The one that makes it unusable as a dataset, whatever Segmind's limits are; empty if it is
  // usable.
  std::string unusable;
};

// Inspects a zip while its bytes pass, in pieces of any size. A zip lists its content at its end,
// so only the end is kept, up to kKept bytes, and nothing is ever unpacked: hostile archives cost
// no more than honest ones. Entries beyond what was kept are not inspected, and a warning says so.
// Not thread-safe.
class DatasetInspector {
 public:
  // Some 10,000 entries, and the longest comment that may follow them.
  static constexpr size_t kKept = (size_t{1} << 20) + (size_t{68} << 10);

  // `size_bytes` is the size of the whole zip.
  explicit DatasetInspector(int64_t size_bytes);

  // The next bytes. What exceeds the announced size is ignored.
  void Write(std::string_view bytes);

  // Skips bytes that are not available, such as all but the last ones of a zip behind a URL.
  void Skip(int64_t bytes);

  // Whether the first bytes, as far as they are there, are those of a zip.
  bool MayBeZip() const;

  // Once all is written.
  DatasetFindings Finish() const;

 private:
  // Constant after construction.
  const int64_t size_;
  const int64_t kept_from_;

  int64_t seen_ = 0;
  std::string head_;  // The first four bytes.
  std::string tail_;  // From kept_from_ on.
};

}  // namespace finetune
