#include "server/service/transfers/weights_answer.h"

#include <cstring>

#include "tests/fuzz/fuzz.h"

namespace finetune {

// Two numbers, the code, and a line for each header: content-length, content-range, etag.
void Fuzz(std::string_view input) {
  uint64_t numbers[2] = {};
  if (input.size() < sizeof(numbers) + 1) return;
  std::memcpy(numbers, input.data(), sizeof(numbers));
  const int codes[] = {200, 206, 416};
  const int code = codes[static_cast<unsigned char>(input[sizeof(numbers)]) % 3];
  input.remove_prefix(sizeof(numbers) + 1);
  HttpResponse head{code, {}, ""};
  for (const char* name : {"content-length", "content-range", "etag"}) {
    const size_t end = std::min(input.find('\n'), input.size());
    head.headers.emplace_back(name, std::string(input.substr(0, end)));
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  // What a request's check lets through.
  const WeightsRange range{static_cast<int64_t>(numbers[0] >> 1),
                           static_cast<int64_t>(numbers[1] >> 1)};
  range.header();
  const absl::StatusOr<WeightsAnswer> answer = ReadWeightsAnswer(range, "", head);
  if (!answer.ok()) return CheckRefusal(answer.status());
  CHECK(IsValid(answer->generation));
  CHECK(answer->telling >= 0 && answer->telling <= answer->total);
  CHECK(answer->total >= 0 && answer->skip >= 0 && answer->wanted >= 0);
  CHECK(range.offset <= answer->total || answer->wanted == 0);
  CHECK(range.limit == 0 || answer->wanted <= range.limit);
}

}  // namespace finetune
