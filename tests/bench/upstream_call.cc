#include "tests/bench/upstream_call.h"

#include <utility>

namespace finetune::bench {
namespace {

size_t OnBody(char* data, size_t size, size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

}  // namespace

UpstreamCall ListCall() { return {.path = "/finetune/request/list"}; }

UpstreamCall SubmitCall(const std::string& name, const std::string& dataset) {
  return {.method = "POST",
          .path = "/finetune/request/submit",
          .body = R"({"name":")" + name + R"(","data_source_path":")" + dataset +
                  R"(","instance_prompt":"a photo of TOK cat","trigger_word":"TOK",)"
                  R"("base_model":"FAST_FLUX","theme":"subject","segmind_public":false,)"
                  R"("advance_parameters":{}})",
          .new_connection = true};
}

UpstreamCall UploadUrlCall(const std::string& name) {
  return {.path = "/finetune/request/upload/pre-signed-url",
          .body = R"({"name":")" + name + R"(","extension":".zip","public":true})"};
}

UpstreamHandle::UpstreamHandle(std::string url, const std::vector<std::string>& headers)
    : url_(std::move(url)), curl_(curl_easy_init()) {
  for (const std::string& header : headers) headers_ = curl_slist_append(headers_, header.c_str());
  headers_ = curl_slist_append(headers_, "Content-Type: application/json");
  headers_ = curl_slist_append(headers_, "Expect:");
}

UpstreamHandle::~UpstreamHandle() {
  curl_easy_cleanup(curl_);
  curl_slist_free_all(headers_);
}

CURL* UpstreamHandle::Prepare(const UpstreamCall& call) {
  call_ = call;
  body_.clear();
  // Keeps the connection.
  curl_easy_reset(curl_);
  curl_easy_setopt(curl_, CURLOPT_URL, (url_ + call_.path).c_str());
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(curl_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  if (!call_.body.empty()) {
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call_.body.size()));
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, call_.body.data());
  }
  curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, call_.method.c_str());
  if (call_.new_connection) curl_easy_setopt(curl_, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, &OnBody);
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &body_);
  return curl_;
}

int UpstreamHandle::code() const {
  long code = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &code);
  return static_cast<int>(code);
}

}  // namespace finetune::bench
