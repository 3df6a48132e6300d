#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/http/answer_head.h"
#include "server/http/curl_setup.h"
#include "server/http/http_client.h"

namespace finetune {

// What all calls of one client have in common.
struct CurlCallOptions {
  CurlOptions curl;
  absl::Duration max_connection_age;
};

// One HTTP request as a curl easy handle. Made on any thread; from Prepare on, curl thread only.
class CurlCall {
 public:
  explicit CurlCall(HttpRequest request);
  CurlCall(const CurlCall&) = delete;
  CurlCall& operator=(const CurlCall&) = delete;

  // Makes the handle, out of `spare` if that is one. INVALID_ARGUMENT if the request cannot be
  // sent, DEADLINE_EXCEEDED if it is too late.
  absl::Status Prepare(const CurlCallOptions& options, CurlHandle spare);
  // The handle, for the next call; after Completed, in no multi handle any more.
  CurlHandle TakeHandle() { return std::move(handle_); }
  CURL* handle() const { return handle_.get(); }

  // What became of it: once curl is done with it, or when it is ended early.
  HttpResult Completed(CURLcode code);
  HttpResult Failed(absl::Status status);

  // Whether nobody waits for it any longer.
  bool cancelled() const {
    return request_.cancellation != nullptr && request_.cancellation->cancelled();
  }

 private:
  struct FreeMime {
    void operator()(curl_mime* mime) const { curl_mime_free(mime); }
  };

  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  static int OnProgress(void* self, curl_off_t to_come, curl_off_t came, curl_off_t to_go,
                        curl_off_t gone);

  static int OnReady(void* self, char* remote_ip, char* local_ip, int remote_port, int local_port);
  static int OnSocket(void* self, curl_socket_t socket, curlsocktype purpose);
  static int CloseSocket(void* ignored, curl_socket_t socket);

  void SetConnection(const CurlCallOptions& options, bool secure);
  absl::Status SetBody();
  absl::Status SetHeaders();
  bool MayHaveBeenSent() const;
  absl::Status StatusOf(CURLcode code) const;

  // Constant after construction.
  HttpRequest request_;
  const absl::Time start_time_;

  // Curl thread only. The form and the headers must outlive the handle.
  std::unique_ptr<curl_mime, FreeMime> form_;
  CurlHeaders headers_;
  std::string via_;  // Where it goes, for its failures.
  AnswerHead head_;
  bool body_too_long_ = false;
  bool stopped_before_sending_ = false;
  CurlHandle handle_;
};

}  // namespace finetune
