#include "server/web/http_connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/absl_view.h"

namespace finetune {
namespace {

std::string_view ReasonOf(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "-";
  }
}

std::string Now() {
  return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
}

}  // namespace

void HttpConnection::Take(std::string_view bytes) {
  input_.append(bytes);
  Proceed();
}

void HttpConnection::Sent() { Proceed(); }

void HttpConnection::Proceed() {
  while (wants_bytes() && (stage_ == Stage::kHead ? ProceedWithHead() : ProceedWithBody())) {
  }
}

bool HttpConnection::ProceedWithHead() {
  // Some clients send an extra empty line after a body.
  while (absl::StartsWith(input_, "\r\n")) input_.erase(0, 2);
  if (input_.empty()) return false;
  const HeadEnd end = FindHeadEnd(input_);
  if (end.refusal) {
    Refuse(*end.refusal);
    return true;
  }
  if (end.size == 0) return false;
  head_ = {};
  const auto refusal = ParseHead(std::string_view(input_).substr(0, end.size), head_);
  input_.erase(0, end.size);
  if (refusal)
    Refuse(*refusal);
  else
    Begin();
  return true;
}

void HttpConnection::Begin() {
  if (auto reply = door_.Judge(Request())) {
    // Otherwise the rest of this request would be taken for the next one.
    if (head_.body != HttpHead::Body::kNone) head_.keep_alive = false;
    return Answer(*reply);
  }
  stage_ = Stage::kBody;
  chunks_ = {};
  body_.clear();
  body_left_ = head_.length;
  body_too_long_ = head_.length > most_body_bytes_;
  if (body_too_long_) return Finish();
  if (head_.awaits_continue && input_.empty()) output_ = "HTTP/1.1 100 Continue\r\n\r\n";
}

bool HttpConnection::ProceedWithBody() {
  switch (head_.body) {
    case HttpHead::Body::kNone:
      Finish();
      return true;
    case HttpHead::Body::kOfLength: {
      const size_t size = std::min<uint64_t>(body_left_, input_.size());
      body_.append(input_, 0, size);
      input_.erase(0, size);
      body_left_ -= size;
      if (body_left_ > 0) return false;
      Finish();
      return true;
    }
    case HttpHead::Body::kChunked:
      break;
  }
  std::string_view input = input_;
  const auto refusal = chunks_.Take(input, body_);
  input_.erase(0, input_.size() - input.size());
  body_too_long_ = body_.size() > most_body_bytes_;
  if (refusal) {
    Refuse(*refusal);
    return true;
  }
  if (!chunks_.done() && !body_too_long_) return false;
  Finish();
  return true;
}

void HttpConnection::Finish() {
  stage_ = Stage::kHead;
  if (body_too_long_) {
    head_.keep_alive = false;
    body_.clear();
  }
  WebRequest request = Request();
  request.body = body_;
  request.body_too_long = body_too_long_;
  Answer(door_.Take(request));
  std::string().swap(body_);
}

void HttpConnection::Refuse(const HttpRefusal& refusal) {
  head_.keep_alive = false;
  Answer({.code = refusal.code, .body = absl::StrCat(AbslView(refusal.why), "\n")});
}

void HttpConnection::Answer(const WebReply& reply) {
  stage_ = Stage::kHead;
  closing_ = !head_.keep_alive || reply.stream != nullptr;
  ++answered_;
  absl::StrAppend(&output_, "HTTP/1.1 ", reply.code, " ", AbslView(ReasonOf(reply.code)),
                  "\r\nDate: ", Now(), "\r\nCache-Control: ", reply.cache_control,
                  "\r\nX-Content-Type-Options: nosniff\r\n",
                  closing_ ? "Connection: close\r\n" : "");
  // In a 304 they would describe the page for which it stands.
  if (reply.code != 304) absl::StrAppend(&output_, "Content-Type: ", reply.content_type, "\r\n");
  if (reply.code != 304 && reply.stream == nullptr)
    absl::StrAppend(&output_, "Content-Length: ", reply.body.size(), "\r\n");
  for (const auto& [name, value] : reply.headers)
    absl::StrAppend(&output_, name, ": ", value, "\r\n");
  output_ += "\r\n";
  if (head_.method == "HEAD") return;
  output_ += reply.body;
  stream_ = reply.stream;
}

}  // namespace finetune
