// What reading a list costs: a poll with no change, with one, with all, against RapidJSON alone on
// the same bytes. Prints one JSON object.
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "server/json/json.h"
#include "server/segmind/list_reader.h"
#include "tests/bench/process.h"

#ifdef __SSE2__
#ifndef RAPIDJSON_SSE2
#error "RapidJSON would be compared without what makes it fast"
#endif
#endif

namespace finetune::bench {
namespace {

std::string Item(int i, const char* status) {
  return absl::StrFormat(
      R"({"id":"00000000-0000-4000-8000-%012d","data_source_path":"https://finetune-pipeline.s3.amazonaws.com/uploads/)"
      R"(3b0c8f6e-51c2-4a17-9d57-2f7d0e8a1b11/9d3c7a52-7f0b-4b5e-8a6f-%012d-cats.zip","name":"sample-job-number-%d","status":"%s",)"
      R"("error_message":null,"segmind_model_path":null,"advance_parameters":{"steps":%d,"learning_rate":0.0001,"prompt":"a photo of TOK )"
      R"(cat sitting on a red sofa in the morning light","theme":"subject","face_crop":false},"segmind_public_model":false,"train_type":"LORA",)"
      R"("source_type":"AWS_S3","base_model":"FAST_FLUX","theme":"subject","cloud_storage_url":"https://storage.googleapis.com/segmind-finetune/)"
      R"(00000000-0000-4000-8000-%012d/model.safetensors","finetune_id":"00000000-0000-4000-8000-%012d","model_information":{"rank":16}})",
      i, i, i, status, 500 + i % 1000, i, i);
}

std::string List(int jobs, int changed) {
  std::string text = "[";
  for (int i = 0; i < jobs; ++i) {
    if (i > 0) text += ',';
    text += Item(i, changed == -2 ? "DEPLOYING" : i == changed ? "FAILED" : "AVAILABLE");
  }
  return text += "]";
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Of the processor: what else runs on the machine does not count.
double Milliseconds(absl::FunctionRef<void()> body) {
  const auto used = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return absl::ToDoubleMilliseconds(absl::DurationFromTimespec(time));
  };
  const double before = used();
  body();
  return used() - before;
}

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  using namespace finetune::bench;  // NOLINT: a program of one file.
  int jobs = 100'000, repeats = 7;
  CLI::App app("Reads lists");
  app.add_option("--jobs", jobs);
  app.add_option("--repeats", repeats);
  CLI11_PARSE(app, argc, argv);

  const std::string same = List(jobs, -1), one = List(jobs, jobs / 2), all = List(jobs, -2);
  std::map<std::string, std::vector<double>> times;
  std::vector<double> held;
  int64_t peak = 0;
  double peak_of_list = 0;
  bool good = true;
  const auto scrubber =
      std::make_shared<const finetune::Scrubber>(finetune::Secret("SG_0123456789abcdef"));
  for (int i = 0; i < repeats; ++i) {
    std::string copy = same;
    times["rapidjson_sax_in_situ"].push_back(Milliseconds([&] {
      rapidjson::InsituStringStream stream(copy.data());
      rapidjson::BaseReaderHandler<> handler;
      rapidjson::Reader reader;
      good &= !reader.Parse<rapidjson::kParseInsituFlag>(stream, handler).IsError();
    }));
    finetune::ListReader reader;
    // As the gateway reads them: texts are searched for its key.
    const auto read = [&](const char* name, const std::string& body, size_t changed) {
      const finetune::UpstreamList list{.bodies = {body}, .more = "", .scrubber = scrubber};
      times[name].push_back(Milliseconds([&] {
        // In slices, as the gateway takes them.
        auto delta = reader.Read(list, finetune::kListSlice);
        size_t seen = delta.ok() ? delta->changed.size() : 0;
        if (i == 0) peak = std::max(peak, finetune::bench::ResidentBytes(getpid()));
        if (delta.ok()) delta->changed.clear();
        while (reader.more_changed() > 0) {
          const auto slice = reader.MoreChanged(finetune::kListSlice);
          seen += slice.size();
          // Looking at it takes time, too: the median is of those that do not.
          if (i == 0) peak = std::max(peak, finetune::bench::ResidentBytes(getpid()));
        }
        good &= delta.ok() && seen == changed && delta->total == static_cast<size_t>(jobs);
      }));
    };
    malloc_trim(0);
    // The list itself is gone by then.
    const int64_t before = finetune::bench::ResidentBytes(getpid());
    peak = before;
    read("all_new", same, jobs);
    // With the list that is read, of which there is a copy for it.
    if (i == 0)
      peak_of_list = static_cast<double>(peak - before) / static_cast<double>(same.size());
    malloc_trim(0);
    held.push_back(static_cast<double>(finetune::bench::ResidentBytes(getpid()) - before) / jobs);
    read("unchanged", same, 0);
    read("one_changed_after_all_new", one, 1);
    // The state in which it polls for hours: slots, links and caches as a few lists leave them.
    read("all_changed", all, jobs);
    read("all_back", same, jobs);
    // What malloc puts off to the next list is the cost of the one before.
    good &= reader.Read(one).ok() && reader.Read(same).ok();
    read("one_changed", one, 1);
  }
  std::cout << absl::StrFormat(
      R"({"jobs": %d, "bytes": %d, "repeats": %d, "held_bytes_per_job": %.0f, "peak_of_list": %.2f, "runs": {)",
      jobs, same.size(), repeats, held.front(), peak_of_list);
  const char* separator = "";
  for (const auto& [name, values] : times) {
    const double ms = Median(values);
    std::cout << absl::StrFormat(R"(%s"%s": {"ms": %.3f, "mb_per_s": %.1f})", separator, name, ms,
                                 static_cast<double>(same.size()) / 1e3 / ms);
    separator = ", ";
  }
  std::cout << "}}" << std::endl;
  return good ? 0 : 1;
}
