// Drives the C++ client: see ../README.md.
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <condition_variable>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "client/cpp/client.h"

namespace finetune {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

std::string Text(const Struct& command, const std::string& name) {
  const auto found = command.fields().find(name);
  return found == command.fields().end() ? "" : found->second.string_value();
}

double Number(const Struct& command, const std::string& name, double otherwise) {
  const auto found = command.fields().find(name);
  return found == command.fields().end() ? otherwise : found->second.number_value();
}

bool Flag(const Struct& command, const std::string& name) {
  const auto found = command.fields().find(name);
  return found != command.fields().end() && found->second.bool_value();
}

std::vector<std::string> Texts(const Struct& command, const std::string& name) {
  std::vector<std::string> texts;
  const auto found = command.fields().find(name);
  if (found == command.fields().end()) return texts;
  for (const Value& item : found->second.list_value().values())
    texts.push_back(item.string_value());
  return texts;
}

std::string Json(const google::protobuf::Message& message) {
  std::string text;
  google::protobuf::util::MessageToJsonString(message, &text);
  return text;
}

Value OfText(const std::string& text) {
  Value value;
  value.set_string_value(text);
  return value;
}

Value OfNumber(double number) {
  Value value;
  value.set_number_value(number);
  return value;
}

Value OfMessage(const google::protobuf::Message& message) {
  Value value;
  google::protobuf::util::JsonStringToMessage(Json(message), value.mutable_struct_value());
  return value;
}

Value Described(const absl::Status& status, bool local) {
  const Error error = ErrorOf(status);
  Value value;
  auto& fields = *value.mutable_struct_value()->mutable_fields();
  std::string code = (error.local || local)  ? "LOCAL"
                     : IsWaitTimeout(status) ? "WAIT_TIMEOUT"
                                             : absl::StatusCodeToString(status.code());
  fields["code"] = OfText(code);
  fields["reason"] = OfText(error.reason);
  fields["message"] = OfText(error.message);
  fields["request_id"] = OfText(error.request_id);
  if (error.retry_delay)
    fields["retry_delay"] = OfNumber(absl::ToDoubleSeconds(*error.retry_delay));
  const auto list = [](const std::vector<Error::Violation>& violations, const char* subject) {
    Value all;
    all.mutable_list_value();
    for (const Error::Violation& violation : violations) {
      auto& one = *all.mutable_list_value()->add_values()->mutable_struct_value();
      (*one.mutable_fields())[subject] = OfText(violation.subject);
      (*one.mutable_fields())["description"] = OfText(violation.description);
    }
    return all;
  };
  fields["violations"] = list(error.violations, "field");
  fields["quota"] = list(error.quota, "subject");
  return value;
}

class Driver {
 public:
  void Run() {
    std::string line;
    while (std::getline(std::cin, line)) {
      auto command = std::make_shared<Struct>();
      if (!google::protobuf::util::JsonStringToMessage(line, command.get()).ok()) std::abort();
      std::thread([this, command] { Execute(*command); }).detach();
    }
    std::_Exit(0);
  }

 private:
  using Fields = std::map<std::string, Value>;

  void Say(const Struct& command, const std::string& kind, Value what) {
    Struct message;
    (*message.mutable_fields())["id"] = command.fields().at("id");
    (*message.mutable_fields())[kind] = std::move(what);
    std::lock_guard lock(output_);
    std::cout << Json(message) << std::endl;
  }

  void Execute(const Struct& command) {
    auto done = Do(command);
    // Nobody is called by connect: all that can be wrong is on this machine.
    if (!done.ok())
      return Say(command, "error", Described(done.status(), Text(command, "op") == "connect"));
    Value ok;
    ok.mutable_struct_value();
    for (auto& [name, value] : *done)
      (*ok.mutable_struct_value()->mutable_fields())[name] = std::move(value);
    Say(command, "ok", std::move(ok));
  }

  absl::StatusOr<Fields> Do(const Struct& command) {
    const std::string op = Text(command, "op");
    if (op == "connect") return DoConnect(command);
    if (op == "close") {
      client_->Close();
      return Fields();
    }
    if (op == "cancel") return DoCancel(static_cast<int>(Number(command, "target", 0)));
    if (op == "submit") return DoSubmit(command);
    if (op == "list") return DoList(command);
    if (op == "watch") return DoWatch(command);
    if (op == "upload" || op == "download") return DoTransfer(command, op == "upload");
    if (op == "status") {
      auto status = client_->Status();
      if (!status.ok()) return status.status();
      return Fields{{"status", OfMessage(*status)}};
    }
    if (op == "upload_url") {
      auto url = client_->CreateUploadUrl(Text(command, "file_name"), Flag(command, "public_read"));
      if (!url.ok()) return url.status();
      return Fields{{"upload_uri", OfText(url->upload_uri())},
                    {"data_source_uri", OfText(url->data_source_uri())}};
    }
    auto job = DoJob(command, op);
    if (!job.ok()) return job.status();
    return Fields{{"fine_tune", OfMessage(*job)}};
  }

  absl::StatusOr<Fields> DoConnect(const Struct& command) {
    ConnectOptions options;
    options.tls_ca = Text(command, "tls_ca");
    options.tls_cert = Text(command, "tls_cert");
    options.tls_key = Text(command, "tls_key");
    options.tls_server_name = Text(command, "tls_server_name");
    options.token_file = Text(command, "token_file");
    options.connect_timeout = absl::Seconds(
        Number(command, "connect_timeout", absl::ToDoubleSeconds(options.connect_timeout)));
    auto client = Connect(Text(command, "target"), options);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
    return Fields();
  }

  absl::StatusOr<pb::FineTune> DoJob(const Struct& command, const std::string& op) {
    const std::string name = Text(command, "name");
    if (op == "get") return client_->Get(name);
    if (op == "wait") {
      pb::FineTune::State until;
      pb::FineTune::State_Parse(Text(command, "until"), &until);
      return client_->Wait(name, until, absl::Seconds(Number(command, "timeout", 1e9)));
    }
    UpdateOptions options;
    options.etag = Text(command, "etag");
    pb::FineTune::Visibility_Parse(Text(command, "visibility"), &options.visibility);
    options.remove_labels = Texts(command, "remove_labels");
    if (const auto labels = command.fields().find("labels"); labels != command.fields().end()) {
      for (const auto& [key, value] : labels->second.struct_value().fields())
        options.labels[key] = value.string_value();
    }
    return client_->Update(name, options);
  }

  absl::StatusOr<Fields> DoSubmit(const Struct& command) {
    pb::FineTune job;
    if (auto status = google::protobuf::util::JsonStringToMessage(
            Json(command.fields().at("fine_tune").struct_value()), &job);
        !status.ok())
      return absl::InvalidArgumentError(std::string(status.message()));
    SubmitOptions options{.request_id = Text(command, "request_id"),
                          .timeout = absl::Seconds(Number(command, "timeout", 60))};
    auto made = client_->Submit(job, options);
    if (!made.ok()) return made.status();
    Value unknown;
    unknown.set_bool_value(made->unknown());
    return Fields{{"fine_tune", OfMessage(made->fine_tune)},
                  {"request_id", OfText(made->request_id)},
                  {"unknown", unknown}};
  }

  absl::StatusOr<Fields> DoList(const Struct& command) {
    ListOptions options{.filter = Text(command, "filter"), .order_by = Text(command, "order_by")};
    options.page_size = static_cast<int>(Number(command, "page_size", options.page_size));
    Value names;
    names.mutable_list_value();
    for (const absl::StatusOr<pb::FineTune>& job : client_->List(options)) {
      if (!job.ok()) return job.status();
      names.mutable_list_value()->add_values()->set_string_value(job->name());
    }
    return Fields{{"names", names}};
  }

  absl::StatusOr<Fields> DoTransfer(const Struct& command, bool upload) {
    int told = 0;
    const auto progress = [&](int64_t, int64_t) { ++told; };
    if (upload) {
      auto made =
          client_->Upload(Text(command, "path"), {.public_read = Flag(command, "public_read"),
                                                  .file_name = Text(command, "file_name"),
                                                  .on_progress = progress});
      if (!made.ok()) return made.status();
      return Fields{{"data_source_uri", OfText(made->data_source_uri())},
                    {"size_bytes", OfNumber(static_cast<double>(made->size_bytes()))},
                    {"sha256", OfText(absl::BytesToHexString(made->sha256()))},
                    {"progress", OfNumber(told)}};
    }
    auto done =
        client_->Download(Text(command, "name"), Text(command, "path"), {.on_progress = progress});
    if (!done.ok()) return done.status();
    return Fields{{"size_bytes", OfNumber(static_cast<double>(done->size_bytes))},
                  {"sha256", OfText(absl::BytesToHexString(done->sha256))},
                  {"resumed_bytes", OfNumber(static_cast<double>(done->resumed_bytes))},
                  {"progress", OfNumber(told)}};
  }

  // A watch lasts until it is cancelled or has ended.
  struct Watching {
    std::mutex mu;
    std::condition_variable changed;
    bool cancelled = false;
    bool gone = false;
    absl::Status end;
    bool ended = false;
  };

  absl::StatusOr<Fields> DoWatch(const Struct& command) {
    auto watching = std::make_shared<Watching>();
    {
      std::lock_guard lock(watches_mu_);
      watches_[static_cast<int>(Number(command, "id", 0))] = watching;
    }
    SubscriptionOptions options;
    for (const std::string& name : Texts(command, "names")) options.names.insert(name);
    if (const std::string state = Text(command, "state"); !state.empty()) {
      options.filter = [state](const pb::FineTune& job) {
        return pb::FineTune::State_Name(job.state()) == state;
      };
    }
    const auto pause = absl::Milliseconds(Number(command, "slow_ms", 0));
    auto subscription = client_->Watch(options, [&](const WatchEvent& event) {
      Tell(command, event, *watching);
      absl::SleepFor(pause);
    });
    std::unique_lock lock(watching->mu);
    watching->changed.wait(lock, [&] { return watching->cancelled || watching->ended; });
    lock.unlock();
    subscription.reset();
    lock.lock();
    watching->gone = true;
    watching->changed.notify_all();
    if (watching->ended && !watching->end.ok()) return watching->end;
    return Fields();
  }

  void Tell(const Struct& command, const WatchEvent& event, Watching& watching) {
    static const char* const kNames[] = {"snapshot", "created", "updated",   "left",
                                         "synced",   "restart", "heartbeat", "ended"};
    if (event.kind == WatchEvent::Kind::kEnded) {
      std::lock_guard lock(watching.mu);
      watching.ended = true;
      watching.end = event.status;
      watching.changed.notify_all();
      return;
    }
    // What this library tells beyond the others': the connection's ups and downs.
    if (event.kind == WatchEvent::Kind::kReset ||
        (event.kind == WatchEvent::Kind::kSynced && std::exchange(synced_[&watching], true)))
      return;
    Value value;
    auto& fields = *value.mutable_struct_value()->mutable_fields();
    fields["kind"] = OfText(kNames[static_cast<int>(event.kind)]);
    if (event.fine_tune != nullptr) {
      fields["name"] = OfText(event.fine_tune->name());
      fields["state"] = OfText(pb::FineTune::State_Name(event.fine_tune->state()));
      fields["revision"] = OfText(std::to_string(event.fine_tune->revision()));
    }
    Say(command, "event", std::move(value));
  }

  absl::StatusOr<Fields> DoCancel(int target) {
    std::shared_ptr<Watching> watching;
    {
      std::lock_guard lock(watches_mu_);
      watching = watches_[target];
    }
    std::unique_lock lock(watching->mu);
    watching->cancelled = true;
    watching->changed.notify_all();
    watching->changed.wait(lock, [&] { return watching->gone; });
    return Fields();
  }

  std::shared_ptr<FineTuneClient> client_;
  std::mutex output_;
  std::mutex watches_mu_;
  std::map<int, std::shared_ptr<Watching>> watches_;
  // Watcher's thread only.
  std::map<const Watching*, bool> synced_;
};

}  // namespace
}  // namespace finetune

int main() { finetune::Driver().Run(); }
