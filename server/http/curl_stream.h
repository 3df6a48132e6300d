#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/http/address_policy.h"
#include "server/http/answer_head.h"
#include "server/http/curl_setup.h"
#include "server/http/http_stream.h"

namespace finetune {

// One request and its answer as a curl easy handle: a stream is one of them, or a row of them when
// it is redirected. Curl thread only.
class CurlStream {
 public:
  // What is named outlives it.
  CurlStream(const StreamRequest& request, const Url& url, HttpStreamListener& listener);
  CurlStream(const CurlStream&) = delete;
  CurlStream& operator=(const CurlStream&) = delete;

  // Makes the handle. PERMISSION_DENIED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, INTERNAL.
  absl::Status Prepare(const CurlOptions& options, const AddressPolicy& policy);
  CURL* handle() const { return handle_.get(); }
  // Of the answer's head; 0 before there is one.
  int code() const { return head_.answer().code; }

  // To be called after each round of curl's. Whether bytes came in it; tells the listener when they
  // no more do.
  bool EndRound();

  // Whether its host's name is still being looked for: whoever ends it then leaves the lookup, and
  // its thread, to themselves.
  bool awaits_name() const;

  // What became of it, once curl is done with it.
  absl::Status StatusOf(CURLcode code) const;
  // Whether the request follows where the answer leads instead, and where that is.
  // INVALID_ARGUMENT.
  bool redirected() const { return redirected_; }
  absl::StatusOr<Url> RedirectUrl() const;

 private:
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  static size_t OnSend(char* data, size_t size, size_t count, void* self);
  static curl_socket_t OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);

  absl::Status SetRequest();
  bool TakeHeader(absl::string_view line);

  // Constant after construction.
  const StreamRequest& request_;
  const Url& url_;
  HttpStreamListener& listener_;

  // Set by Prepare. The headers must outlive the handle.
  // Whether sockets may go to addresses that are not public.
  bool any_address_ = false;
  std::string via_;  // Where it goes, for its failures.
  CurlHeaders headers_;

  AnswerHead head_;
  bool told_head_ = false;
  bool redirected_ = false;
  size_t dropped_ = 0;
  bool refused_address_ = false;
  bool got_bytes_ = false;  // In this round.
  bool flowing_ = false;    // In the one before.
  CurlHandle handle_;
};

}  // namespace finetune
