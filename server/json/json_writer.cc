#include "server/json/json_writer.h"

#include <cmath>

namespace finetune {

void JsonWriter::Number(double value) {
  if (!std::isfinite(value)) {
    writer_.Null();
  } else if (value == std::trunc(value) && std::abs(value) <= kMaxExactWhole) {
    writer_.Int64(static_cast<int64_t>(value));
  } else {
    writer_.Double(value);
  }
}

}  // namespace finetune
