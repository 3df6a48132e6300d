// The emulator as a process, driven from outside as its users do.
#pragma once

#include <curl/curl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulator/json.h"

namespace finetune::emulator {

inline constexpr char kKey[] = "x-api-key: emulator-key";
inline constexpr char kJson[] = "Content-Type: application/json";
inline constexpr char kZip[] = "Content-Type: application/zip";
inline constexpr char kForm[] = "Content-Type: application/x-www-form-urlencoded";

struct Reply {
  CURLcode result = CURLE_OK;
  long code = 0;
  std::string head;
  std::string body;
};

inline size_t Append(char* bytes, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(bytes, size * count);
  return size * count;
}

inline Reply Call(const std::string& method, const std::string& url,
                  const std::vector<std::string>& headers = {}, const std::string& body = "",
                  bool follow = false) {
  CURL* curl = curl_easy_init();
  curl_slist* list = curl_slist_append(nullptr, "Expect:");
  bool typed = false;
  for (const std::string& header : headers) {
    list = curl_slist_append(list, header.c_str());
    typed = typed || header.rfind("Content-Type", 0) == 0;
  }
  if (!typed) list = curl_slist_append(list, "Content-Type:");
  Reply reply;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.head);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, follow ? 1L : 0L);
  if (method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else {
    if (!body.empty() || method != "GET") {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
      curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body.c_str());
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  }
  reply.result = curl_easy_perform(curl);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.code);
  curl_slist_free_all(list);
  curl_easy_cleanup(curl);
  return reply;
}

inline std::string Text(const std::string& json, const char* name) {
  const auto document = ParseJson(json);
  return document ? StringMember(*document, name).value_or("") : "";
}

// The emulator as a process of its own.
class EmulatorTest : public testing::Test {
 protected:
  void SetUp() override { Start({"--time_scale=1000"}); }
  void TearDown() override {
    if (pid_ > 0) EXPECT_EQ(Stop(), 0);
  }

  void Start(std::vector<std::string> flags) {
    int out[2];
    ASSERT_EQ(pipe(out), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    flags.insert(flags.begin(), {EMULATOR_BINARY, "--listen=127.0.0.1:0"});
    std::vector<char*> arguments;
    for (std::string& flag : flags) arguments.push_back(flag.data());
    arguments.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid_, EMULATOR_BINARY, &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    std::string line;
    for (char c = 0; read(out[0], &c, 1) == 1 && c != '\n';) line += c;
    close(out[0]);
    ASSERT_THAT(line, testing::StartsWith("segmind-emulator listening on http://127.0.0.1:"));
    url_ = line.substr(line.find("http"));
  }

  // The exit code.
  int Stop() {
    int status = 0;
    kill(pid_, SIGTERM);
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  Reply Api(const std::string& method, const std::string& path, const std::string& body = "",
            const std::string& type = kJson) {
    std::vector<std::string> headers = {kKey};
    if (!body.empty()) headers.push_back(type);
    return Call(method, url_ + path, headers, body);
  }
  Reply Control(const std::string& what, const std::string& body = "{}") {
    return Call("POST", url_ + "/emulator/" + what, {kJson}, body);
  }
  Reply List() { return Api("GET", "/finetune/request/list"); }
  Reply Details(const std::string& id) {
    return Api("GET", "/finetune/request/details", R"({"request_id":")" + id + "\"}");
  }
  Reply Submit(const std::string& source, const std::string& model = "FAST_FLUX",
               const std::string& theme = "subject") {
    return Api("POST", "/finetune/request/submit",
               R"({"name":"Cat","data_source_path":")" + source +
                   R"(","instance_prompt":"TOK","trigger_word":"TOK","base_model":")" + model +
                   R"(","theme":")" + theme + R"("})");
  }
  // Uploads a zip and returns its URL.
  std::string Upload(const std::string& bytes, bool is_public) {
    const Reply grant = Api("GET", "/finetune/request/upload/pre-signed-url",
                            std::string(R"({"name":"my cats","extension":".zip","public":)") +
                                (is_public ? "true}" : "false}"));
    std::vector<std::string> headers = {kZip};
    if (is_public) headers.push_back("x-amz-acl: public-read");
    const Reply put = Call("PUT", Text(grant.body, "presigned_url"), headers, bytes);
    EXPECT_EQ(put.code, 200) << put.body;
    EXPECT_THAT(put.head, testing::HasSubstr("ETag: \""));
    return Text(grant.body, "s3_url");
  }
  // Reads the job until its status is one of the two ends.
  std::string Ended(const std::string& id) {
    for (int i = 0; i < 2000; ++i) {
      const Reply reply = Details(id);
      const auto document = ParseJson(reply.body);
      if (document && Member(*document, "finetune") != nullptr) {
        const std::string status = (*document)["finetune"]["status"].GetString();
        if (status == "AVAILABLE" || status == "FAILED") return ToText((*document)["finetune"]);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return "";
  }

  pid_t pid_ = 0;
  std::string url_;
};

}  // namespace finetune::emulator
