#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace finetune::emulator {

using WallTime = std::chrono::system_clock::time_point;

// RFC 3339 in UTC.
std::string TimeText(WallTime time, bool fraction);
// RFC 9110's date, for headers: Tue, 02 Jan 2024 03:04:05 GMT.
std::string HttpDate(WallTime time);

// As signed URLs have it: 20240102T030405Z, from seconds since the epoch.
std::string CompactTime(int64_t seconds);

// The ways in which a job's times can be written.
const std::vector<std::string>& TimestampFormats();
// The JSON value of a job's time, quotes included, in one of those formats.
std::string TimestampJson(WallTime time, std::string_view format);

// `time` moved by that many seconds, fractions too.
WallTime Shifted(WallTime time, double seconds);

}  // namespace finetune::emulator
