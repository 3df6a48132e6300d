#include "tests/emulator/page.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune::emulator {
namespace {

constexpr char kFolder[] = "/emulator/page/";
constexpr char kIndex[] = "index.html";

std::string TypeOf(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return name.ends_with(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8";
}

}  // namespace

std::optional<Answer> PageAnswer(const Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  std::string name = kIndex;
  if (absl::StartsWith(request.path, kFolder))
    name = request.path.substr(sizeof(kFolder) - 1);
  else if (request.path != "/")
    return std::nullopt;
  for (const PageFile& file : PageFiles()) {
    if (file.name != name) continue;
    Answer answer = TextAnswer(200, TypeOf(name), std::string(file.bytes));
    answer.headers = {{"Cache-Control", "no-cache"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
                       "'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'"}};
    return answer;
  }
  return std::nullopt;
}

}  // namespace finetune::emulator
