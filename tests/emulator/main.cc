#include <curl/curl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/emulator/account.h"
#include "tests/emulator/api_door.h"
#include "tests/emulator/call_log.h"
#include "tests/emulator/control_door.h"
#include "tests/emulator/dataset_check.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/http_server.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/lifecycle.h"
#include "tests/emulator/router.h"
#include "tests/emulator/storage_door.h"
#include "tests/emulator/webhooks.h"

namespace finetune::emulator {
namespace {

constexpr char kAbout[] =
    "Plays Segmind's fine-tuning API, its storage and its webhook on this machine, and misbehaves\n"
    "on request. Jobs live in memory and end with the process.";

constexpr char kExamples[] = R"(
Examples (with the emulator at 127.0.0.1:8090):
  segmind-emulator --time_scale=100 --webhook_url=http://127.0.0.1:8080/webhooks/segmind/TOKEN
      jobs run a hundred times as fast and are announced to the gateway
  segmind-emulator --listen=127.0.0.1:0 --port_file=/tmp/port --check_datasets=false
      any free port; any data_source_path will do
  segmind-emulator --list_size=100000 --rate_limit_per_minute=50
      a big account on a small plan
  segmind-emulator --set=name_mangling=upper,cut:20 --set=list_page_size=50 --set=list_paging=cursor
      a Segmind with habits of its own

  curl 127.0.0.1:8090/finetune/request/list -H 'x-api-key: emulator-key'
  curl 127.0.0.1:8090/emulator/stats                      what it was asked
  curl 127.0.0.1:8090/emulator/submits                    every submit, with body
  curl 127.0.0.1:8090/emulator/faults/kinds               how it can misbehave
  curl 127.0.0.1:8090/emulator/faults -d '{"call":"submit","kind":"lost_answer"}'
  curl 127.0.0.1:8090/emulator/faults -d '{"call":"list","kind":"status","code":503,"count":3}'
  curl -X DELETE 127.0.0.1:8090/emulator/faults
  curl 127.0.0.1:8090/emulator/jobs -d '{"name":"cat","status":"QUEUED","walk":true}'
  curl 127.0.0.1:8090/emulator/jobs/ID -d '{"status":"FAILED","error_message":"Download failed"}'
  curl 127.0.0.1:8090/emulator/clock -d '{"time_scale":1000}'
  curl -X POST 127.0.0.1:8090/emulator/reset

A scenario file is {"settings":{...},"faults":[...],"jobs":[...]}, with the names that
/emulator/settings, /emulator/faults and /emulator/jobs use.)";

struct Flags {
  std::string listen = "127.0.0.1:8090";
  std::string port_file;
  std::string scenario_file;
  std::string storage_dir;
  uint64_t list_size = 0;
  uint64_t seed = 1;
  int threads = 3;
  std::vector<std::string> set;
  Settings settings;
};

void AddFlags(CLI::App* app, Flags* flags) {
  Settings& s = flags->settings;
  app->add_option("--listen", flags->listen, "Address and port; port 0: any free one");
  app->add_option("--port_file", flags->port_file, "Written with the real port once listening");
  app->add_option("--api_key", s.api_key, "The key that callers must send");
  app->add_option("--time_scale", s.time_scale, "How many times as fast jobs run; 0: not at all")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--webhook_url", s.webhook_url, "Where events are posted; empty: nowhere")
      ->check([](const std::string& url) { return CheckWebhookUrl(url).value_or(""); });
  app->add_option("--webhook_vocabulary", s.webhook_vocabulary,
                  "model: three events; webhook: five")
      ->check(CLI::IsMember({"model", "webhook"}));
  app->add_option("--webhook_shape", s.webhook_shape, "How an event looks")
      ->check(CLI::IsMember({"flat", "nested", "request_id"}));
  app->add_option("--webhook_attempts", s.webhook_attempts, "Posts per event until a 2xx");
  app->add_option("--scenario_file", flags->scenario_file,
                  "Settings, faults and jobs to start with")
      ->check(CLI::ExistingFile);
  app->add_option("--public_url", s.public_url, "What URLs in answers begin with");
  app->add_option("--list_size", flags->list_size, "Finished jobs to start with")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1000000}));
  app->add_option("--rate_limit_per_minute", s.rate_limit_per_minute, "Beyond it 429; 0: none")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--weights_bytes", s.weights_bytes, "Size of the weights; GBs cost no memory")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--weights_redirects", s.weights_redirects, "Hops before the weights")
      ->check(CLI::Range(0, 20));
  app->add_option("--check_datasets", s.check_datasets, "Fetch and open datasets");
  app->add_option("--distinct_ids", s.distinct_ids, "id and finetune_id differ");
  app->add_option("--timestamp_fraction", s.timestamp_fraction, "Timestamps with a fraction");
  app->add_option("--credits", s.credits, "Credits of the account");
  app->add_option("--set", flags->set,
                  "NAME=VALUE: any setting of /emulator/settings; may be repeated")
      ->check([](const std::string& text) {
        Settings settings;
        return SetByText(text, &settings).value_or("");
      });
  app->add_option("--storage_dir", flags->storage_dir,
                  "Where uploads are kept, without a name (default: $TMPDIR or /tmp)");
  app->add_option("--threads", flags->threads, "Threads that serve HTTP")->check(CLI::Range(1, 64));
  app->add_option("--seed", flags->seed, "For faults with a probability");
  app->footer(kExamples);
}

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Complain(const std::string& what, int code = kFailed) {
  std::fprintf(stderr, "segmind-emulator: %s\n", what.c_str());
  return code;
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Serves until SIGTERM or SIGINT.
int Serve(Flags flags, const sigset_t& signals) {
  const size_t colon = flags.listen.rfind(':');
  const std::string port_text = colon == std::string::npos ? "" : flags.listen.substr(colon + 1);
  if (port_text.empty() || port_text.size() > 5 ||
      port_text.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(port_text) > 65535) {
    return Complain("--listen must be ADDRESS:PORT, not " + flags.listen, kUsage);
  }
  const std::string host = flags.listen.substr(0, colon);
  CallLog log;
  HttpServer server(flags.storage_dir, &log);
  if (const std::string error = server.Listen(host, std::stoi(port_text)); !error.empty()) {
    return Complain(error);
  }
  const std::string address = "http://" + host + ":" + std::to_string(server.port());
  if (flags.settings.public_url.empty()) {
    // What listens everywhere is reached from here at least.
    const std::string reachable = host == "0.0.0.0" ? "127.0.0.1" : host;
    flags.settings.public_url = "http://" + reachable + ":" + std::to_string(server.port());
  }

  LiveSettings settings(flags.settings);
  FaultBook faults(flags.seed);
  JobStore jobs(&settings);
  ObjectStore objects;
  Account account(&settings);
  StorageDoor storage(&settings, &jobs, &objects);
  Webhooks webhooks(&settings, &faults, &log);
  DatasetCheck datasets(flags.storage_dir, 4);
  Lifecycle lifecycle(&settings, &jobs, &faults, &webhooks, &datasets, &storage);
  ApiDoor api(&settings, &account, &jobs, &lifecycle, &storage, &log);
  ControlDoor control({&settings, &account, &jobs, &faults, &webhooks, &lifecycle, &objects, &log},
                      flags.settings);
  Router router(&settings, &api, &storage, &control, &jobs, &faults, &log);

  control.Prefill(flags.list_size);
  if (!flags.scenario_file.empty()) {
    if (auto error = control.ApplyScenario(ReadFile(flags.scenario_file))) {
      return Complain(flags.scenario_file + ": " + *error);
    }
  }
  const std::string error =
      server.Start([&](const Request& request) { return router.Handle(request); }, flags.threads);
  if (!error.empty()) return Complain(error);
  if (!flags.port_file.empty()) {
    // Renamed into place, so that nobody reads half a number.
    const std::string draft = flags.port_file + ".new";
    std::ofstream(draft) << server.port() << "\n";
    if (std::rename(draft.c_str(), flags.port_file.c_str()) != 0) {
      return Complain("cannot write --port_file " + flags.port_file);
    }
  }
  std::printf("segmind-emulator listening on %s\n", address.c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  server.Stop();
  datasets.Stop();
  lifecycle.Stop();
  webhooks.Stop();
  return 0;
}

int Main(int argc, char** argv) {
  // Before any thread is made, so that only sigwait sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();
  curl_global_init(CURL_GLOBAL_ALL);

  CLI::App app(kAbout, "segmind-emulator");
  Flags flags;
  const char* temporary = std::getenv("TMPDIR");
  flags.storage_dir = temporary != nullptr ? temporary : "/tmp";
  app.option_defaults()->always_capture_default();
  AddFlags(&app, &flags);
  app.set_version_flag("--version", "segmind-emulator " FINETUNE_VERSION, "Show the version");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  for (const std::string& text : flags.set) SetByText(text, &flags.settings);
  return Serve(std::move(flags), signals);
}

}  // namespace
}  // namespace finetune::emulator

int main(int argc, char** argv) { return finetune::emulator::Main(argc, argv); }
