#pragma once

#include <curl/curl.h>

#include <string>
#include <vector>

namespace finetune::bench {

// One call of Segmind's API, as its simplest client makes it.
struct UpstreamCall {
  std::string method = "GET";
  std::string path;
  std::string body;
  // The gateway sends what costs money over a new connection: what a broken one did is not known.
  bool new_connection = false;
};

UpstreamCall ListCall();
UpstreamCall SubmitCall(const std::string& name, const std::string& dataset);
UpstreamCall UploadUrlCall(const std::string& name);

// An easy handle that makes such calls one after another. One thread at a time.
class UpstreamHandle {
 public:
  // `url` is what comes before the paths; a header is "Name: value".
  UpstreamHandle(std::string url, const std::vector<std::string>& headers);
  ~UpstreamHandle();
  UpstreamHandle(const UpstreamHandle&) = delete;
  UpstreamHandle& operator=(const UpstreamHandle&) = delete;

  // For curl_easy_perform or a multi handle; until the next Prepare.
  CURL* Prepare(const UpstreamCall& call);
  int code() const;
  std::string& body() { return body_; }

 private:
  const std::string url_;
  CURL* const curl_;
  curl_slist* headers_ = nullptr;
  UpstreamCall call_;
  std::string body_;
};

}  // namespace finetune::bench
