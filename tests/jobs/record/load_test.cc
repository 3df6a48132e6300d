#include <malloc.h>

#include <ctime>
#include <filesystem>
#include <iostream>

#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

constexpr int kJobs = 100'000;

// Of an ordinary job's size.
record::FineTuneRecord OrdinaryJob(int i) {
  record::FineTuneRecord record = MakeJob(MakeUuid(), pb::FineTune::AVAILABLE);
  pb::FineTune& job = *record.mutable_fine_tune();
  job.set_upstream_id(MakeUuid());
  job.set_display_name(absl::StrCat("product photos ", i));
  job.set_data_source_uri(absl::StrCat("https://segmind-data.s3.amazonaws.com/", i, "/data.zip"));
  job.set_instance_prompt("a photo of sks product on a white table");
  job.set_trigger_word("sks");
  job.set_theme("subject");
  job.mutable_parameters()->set_steps(1000);
  job.set_visibility(pb::FineTune::PRIVATE);
  (*job.mutable_labels())["team"] = "vision";
  job.set_upstream_status("AVAILABLE");
  job.set_creator("spiffe://corp.example/ns/vision/sa/trainer");
  job.set_weights_uri(absl::StrCat("https://segmind-models.s3.amazonaws.com/", i, ".safetensors"));
  job.set_inference_uri(absl::StrCat("https://api.segmind.com/v1/product-photos-", i));
  job.set_slug(absl::StrCat("product-photos-", i));
  *job.mutable_create_time() = ToProto(absl::FromUnixMillis(1'700'000'000'123 + i));
  for (int state = pb::FineTune::QUEUED; state <= pb::FineTune::AVAILABLE; ++state) {
    auto& transition = *job.add_transitions();
    transition.set_state(static_cast<pb::FineTune::State>(state));
    transition.set_upstream_status("TRAINING");
    *transition.mutable_time() = ToProto(absl::FromUnixMillis(1'700'000'000'123 + i));
    transition.set_source(pb::StateTransition::POLL);
  }
  record.set_request_id(MakeUuid());
  record.set_details_known(true);
  return record;
}

// Figures of this machine are in the test's output; the bounds are for any.
TEST(Load, AHundredThousandJobsAreReadySoonAndTakeLittleMemory) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", MakeUuid(), "/store.db");
  {
    JobsFixture f(OpenSqliteStore(path).value());
    const absl::Time start = absl::Now();
    ASSERT_TRUE(f.Run([](Draft& draft) {
                   for (int i = 0; i < kJobs; ++i) draft.Put(OrdinaryJob(i));
                   return absl::OkStatus();
                 }).ok());
    std::cout << "first commit of all: " << absl::Now() - start << "\n";
  }
  malloc_trim(0);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const absl::Time start = absl::Now();
  const std::clock_t cpu_start = std::clock();
  auto store = OpenSqliteStore(path).value();
  JobsFixture f(std::move(store));
  const absl::Duration took = absl::Now() - start;
  ASSERT_TRUE(f.loaded.ok()) << f.loaded;
  const size_t memory = mallinfo2().uordblks + mallinfo2().hblkhd - before;
  const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
  std::cout << "ready in " << took << " (" << cpu << " s of CPU time), " << memory / kJobs
            << " bytes a job (window included)\n";
  EXPECT_EQ(f.catalog.view()->size(), size_t{kJobs});
  EXPECT_LT(memory / kJobs, 3'000u);
  EXPECT_LT(took, absl::Seconds(20));
  std::filesystem::remove_all(std::filesystem::path(path).parent_path());
}

}  // namespace
}  // namespace finetune
