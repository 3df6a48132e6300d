#include "tests/bench/bare_jobs.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

pb::FineTune SampleJob(int i) {
  pb::FineTune job;
  job.set_name("fineTunes/00000000-0000-4000-8000-" + std::to_string(100000000000 + i));
  job.set_display_name("sample-" + std::to_string(i));
  job.set_data_source_uri("https://finetune-pipeline.s3.amazonaws.com/uploads/user/" +
                          std::string(60, 'd') + ".zip");
  job.set_instance_prompt("1MAN, running in brown suit " + std::string(80, 'p'));
  job.set_trigger_word("1MAN");
  job.set_base_model("FAST_FLUX");
  job.set_theme("subject");
  job.set_state(pb::FineTune::AVAILABLE);
  job.set_upstream_status("AVAILABLE");
  job.set_upstream_id("00000000-0000-4000-8000-" + std::to_string(100000000000 + i));
  job.set_weights_uri("https://storage.googleapis.com/finetune/" + std::string(70, 'w') +
                      ".safetensors");
  job.set_slug(std::string(50, 's'));
  job.set_revision(i + 1);
  job.set_etag("0123456789abcdef");
  return job;
}

Jobs MakeUp(int count) {
  Jobs jobs;
  for (int i = 0; i < count; ++i) jobs.listed.push_back(SampleJob(i));
  jobs.got = jobs.listed[0];
  return jobs;
}

// Null if that server does not answer, or has fewer.
std::optional<Jobs> CopyFrom(const std::string& target, int count) {
  auto stub =
      pb::FineTuneService::NewStub(grpc::CreateChannel(target, grpc::InsecureChannelCredentials()));
  Jobs jobs;
  pb::ListFineTunesRequest request;
  while (jobs.listed.size() < static_cast<size_t>(count)) {
    grpc::ClientContext context;
    pb::ListFineTunesResponse page;
    request.set_page_size(std::min(500, count - static_cast<int>(jobs.listed.size())));
    if (!stub->ListFineTunes(&context, request, &page).ok() || page.fine_tunes().empty())
      return std::nullopt;
    jobs.listed.insert(jobs.listed.end(), page.fine_tunes().begin(), page.fine_tunes().end());
    request.set_page_token(page.next_page_token());
  }
  grpc::ClientContext context;
  pb::GetFineTuneRequest get;
  get.set_name(jobs.listed[0].name());
  if (!stub->GetFineTune(&context, get, &jobs.got).ok()) return std::nullopt;
  return jobs;
}

}  // namespace

std::vector<grpc::Slice> Jobs::Items() const {
  std::vector<grpc::Slice> items;
  for (const pb::FineTune& job : listed) {
    pb::ListFineTunesResponse one;
    one.add_fine_tunes()->CopyFrom(job);
    items.emplace_back(one.SerializeAsString());
  }
  return items;
}

std::optional<Jobs> JobsOf(const std::string& target, int count) {
  return target.empty() ? MakeUp(count) : CopyFrom(target, count);
}

}  // namespace finetune::bench
