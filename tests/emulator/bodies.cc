#include "tests/emulator/bodies.h"

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using Words = std::string_view;
using Shape = Answer (*)(int code, Words words, Words field);

Answer Json(int code, std::string body) {
  return TextAnswer(code, "application/json", std::move(body));
}

std::string FieldError(Words words, Words field) {
  return ObjectText()
      .Add("type", "value_error")
      .AddRaw("loc", absl::StrCat(R"(["body",)", Quoted(field), "]"))
      .Add("msg", words)
      .Text();
}

std::string One(std::string_view name, Words words) { return ObjectText().Add(name, words).Text(); }

const std::map<std::string, Shape, std::less<>>& Shapes() {
  static const auto* const shapes = new std::map<std::string, Shape, std::less<>>{
      {"error", [](int code, Words words, Words) { return Json(code, One("error", words)); }},
      {"message", [](int code, Words words, Words) { return Json(code, One("message", words)); }},
      {"msg", [](int code, Words words, Words) { return Json(code, One("msg", words)); }},
      {"reason", [](int code, Words words, Words) { return Json(code, One("reason", words)); }},
      {"detail", [](int code, Words words, Words) { return Json(code, One("detail", words)); }},
      {"detail_list",
       [](int code, Words words, Words field) {
         const std::string list = absl::StrCat("[", FieldError(words, field), "]");
         return Json(code, ObjectText().AddRaw("detail", list).Text());
       }},
      {"errors_list",
       [](int code, Words words, Words) {
         const std::string list = absl::StrCat("[", Quoted(words), "]");
         return Json(code, ObjectText().AddRaw("errors", list).Text());
       }},
      {"errors_objects",
       [](int code, Words words, Words field) {
         const std::string item = ObjectText().Add("field", field).Add("message", words).Text();
         return Json(code, ObjectText().AddRaw("errors", absl::StrCat("[", item, "]")).Text());
       }},
      {"errors_object",
       [](int code, Words words, Words field) {
         const std::string list = absl::StrCat("[", Quoted(words), "]");
         const std::string errors = ObjectText().AddRaw(field, list).Text();
         return Json(code, ObjectText().AddRaw("errors", errors).Text());
       }},
      {"nested",
       [](int code, Words words, Words) {
         const std::string error =
             ObjectText().Add("code", int64_t{code}).Add("message", words).Text();
         return Json(code, ObjectText().AddRaw("error", error).Text());
       }},
      {"string", [](int code, Words words, Words) { return Json(code, Quoted(words)); }},
      {"text", [](int code, Words words,
                  Words) { return TextAnswer(code, "text/plain", std::string(words)); }},
      {"xml", [](int code, Words words, Words) { return XmlAnswer(code, "InternalError", words); }},
      {"html",
       [](int code, Words words, Words) {
         return TextAnswer(
             code, "text/html",
             absl::StrCat("<html><body><h1>", std::string(words), "</h1></body></html>"));
       }},
      {"empty", [](int code, Words, Words) { return TextAnswer(code, "text/plain", ""); }},
  };
  return *shapes;
}

constexpr char kPage[] =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head>\n<body><form action=\"/login\">"
    "<input name=\"user\"><input name=\"password\"></form></body></html>\n";

// A length that no header has, then nothing that is one.
constexpr std::string_view kHugeHeader("\xff\xff\xff\xff\xff\xff\xff\x7f{\"a\":1}", 15);
// A header that says more than there is.
constexpr std::string_view kCutHeader("\x40\x00\x00\x00\x00\x00\x00\x00{\"lora.weight\":{\"dty",
                                      28);

struct Content {
  const char* type;
  std::string body;
};

const std::map<std::string, Content, std::less<>>& Contents() {
  static const auto* const contents = new std::map<std::string, Content, std::less<>>{
      {"html", {"text/html; charset=utf-8", kPage}},
      // As a captive portal or a careless store names it.
      {"html_named_binary", {"application/octet-stream", kPage}},
      {"s3_xml", {"application/xml", *XmlAnswer(200, "NoSuchKey", "The key does not exist.").text}},
      {"json", {"application/json", R"({"error":"not found"})"}},
      {"lfs_pointer",
       {"text/plain; charset=utf-8",
        "version https://git-lfs.github.com/spec/v1\noid sha256:"
        "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4194304\n"}},
      {"empty", {"application/octet-stream", ""}},
      {"text", {"text/plain", "please try again later\n"}},
      {"bytes3", {"application/zip", "abc"}},
      {"image",
       {"image/png",
        std::string("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01"
                    "\x08\x06\x00\x00\x00\x1f\x15\xc4\x89",
                    33)}},
      {"huge_header", {"application/octet-stream", std::string(kHugeHeader)}},
      {"cut_header", {"application/octet-stream", std::string(kCutHeader)}},
  };
  return *contents;
}

template <typename Map>
std::vector<std::string> NamesOf(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

struct S3Error {
  const char* name;
  int code;
  const char* message;
};

constexpr S3Error kS3Errors[] = {
    {"PermanentRedirect", 301, "The bucket must be addressed at another endpoint"},
    {"TemporaryRedirect", 307, "Please re-send this request to the specified endpoint"},
    {"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size"},
    {"ExpiredToken", 400, "The provided token has expired."},
    {"RequestTimeout", 400, "Your socket connection to the server was not read from in time"},
    {"AccessDenied", 403, "Access Denied"},
    {"SignatureDoesNotMatch", 403, "The request signature we calculated does not match"},
    {"RequestTimeTooSkewed", 403, "The difference between the request time and ours is too large"},
    {"NoSuchKey", 404, "The specified key does not exist."},
    {"MissingContentLength", 411, "You must provide the Content-Length HTTP header."},
    {"PreconditionFailed", 412, "At least one of the preconditions did not hold"},
    {"RequestEntityTooLarge", 413, "The request is too large"},
    {"InvalidRange", 416, "The requested range cannot be satisfied"},
    {"InternalError", 500, "We encountered an internal error. Please try again."},
    {"SlowDown", 503, "Please reduce your request rate."},
    {"ServiceUnavailable", 503, "Please reduce your request rate."},
};

std::string KeyAs(std::string_view form, std::string_view key) {
  std::string text;
  if (form == "base64") {
    absl::Base64Escape(absl::string_view(key.data(), key.size()), &text);
  } else if (form == "percent") {
    for (const char c : key) absl::StrAppendFormat(&text, "%%%02X", static_cast<unsigned char>(c));
  } else if (form == "hex") {
    for (const char c : key) absl::StrAppendFormat(&text, "%02x", static_cast<unsigned char>(c));
  } else if (form == "escaped") {
    for (const char c : key) absl::StrAppendFormat(&text, "\\u%04x", static_cast<unsigned char>(c));
  } else if (form == "head") {
    text = std::string(key.substr(0, key.size() / 2));
  } else if (form == "tail") {
    text = std::string(key.substr(key.size() / 2));
  } else {
    text = std::string(key);
  }
  return text;
}

}  // namespace

const std::vector<std::string>& ErrorShapes() {
  static const auto* const names = new std::vector<std::string>(NamesOf(Shapes()));
  return *names;
}

Answer ShapedError(int code, std::string_view shape, std::string_view words,
                   std::string_view field) {
  const auto it = Shapes().find(shape);
  if (it == Shapes().end()) return ErrorAnswer(code, words);
  return it->second(code, words, field.empty() ? "data_source_path" : field);
}

const std::vector<std::string>& FileContents() {
  static const auto* const names = new std::vector<std::string>(NamesOf(Contents()));
  return *names;
}

Answer WrongFile(std::string_view content) {
  const auto it = Contents().find(content);
  if (it == Contents().end()) return TextAnswer(200, "application/octet-stream", "");
  return TextAnswer(200, it->second.type, it->second.body);
}

Answer StorageError(std::string_view s3_code, int code, std::string_view message) {
  for (const S3Error& error : kS3Errors) {
    if (s3_code != error.name) continue;
    return XmlAnswer(code != 0 ? code : error.code, s3_code,
                     message.empty() ? std::string_view(error.message) : message);
  }
  return XmlAnswer(code != 0 ? code : 400, s3_code, message);
}

std::string WithKey(std::string_view text, std::string_view key) {
  std::string out(text);
  for (const char* form : {"", "base64", "percent", "hex", "escaped", "head", "tail"}) {
    const std::string mark = absl::StrCat("{api_key", *form != '\0' ? ":" : "", form, "}");
    out = absl::StrReplaceAll(out, {{mark, KeyAs(form, key)}});
  }
  return out;
}

}  // namespace finetune::emulator
