#include "tests/emulator/signed_urls.h"

#include <ctime>
#include <functional>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/job.h"
#include "tests/emulator/json.h"
#include "tests/emulator/times.h"

namespace finetune::emulator {
namespace {

// One signature, free of how a style writes it.
struct Signature {
  int64_t until = 0;  // Seconds since the epoch.
  std::string nonce;  // What makes each one another.
  std::string mark;   // Of file, time and nonce.
};

std::string FileOf(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::string SignedText(std::string_view file, int64_t until, std::string_view nonce) {
  return absl::StrCat("GET\n", std::string(file), "\n", until, "\n", std::string(nonce));
}

std::string Base64Of(const Signature& signature) {
  std::string text;
  absl::Base64Escape(absl::StrCat(signature.nonce, "/", signature.mark), &text);
  return text;
}

std::optional<Signature> OfBase64(int64_t until, const std::string& text) {
  std::string raw;
  if (!absl::Base64Unescape(text, &raw)) return std::nullopt;
  const size_t slash = raw.find('/');
  if (slash == std::string::npos) return std::nullopt;
  return Signature{until, raw.substr(0, slash), raw.substr(slash + 1)};
}

// S3's and Google's are of one kind; only the prefix and the names of things differ.
std::string DatedQuery(std::string_view vendor, const Signature& signature, int64_t seconds) {
  const bool google = vendor == "Goog";
  const std::string prefix = absl::StrCat("X-", std::string(vendor), "-");
  const std::string date = CompactTime(signature.until - seconds);
  const std::string scope = google ? "auto/storage/goog4_request" : "us-east-1/s3/aws4_request";
  const std::string who = google ? "emulator@segmind.iam.gserviceaccount.com" : "ASIAEMULATOR";
  return absl::StrCat(
      prefix, "Algorithm=", google ? "GOOG4-RSA-SHA256" : "AWS4-HMAC-SHA256", "&", prefix,
      "Credential=", UrlEncoded(absl::StrCat(who, "/", date.substr(0, 8), "/", scope)), "&", prefix,
      "Date=", date, "&", prefix, "Expires=", seconds, "&", prefix, "SignedHeaders=host", "&",
      prefix, "Signature=", signature.nonce, signature.mark);
}

std::optional<Signature> OfDatedQuery(std::string_view vendor, const Request& request) {
  const std::string prefix = absl::StrCat("X-", std::string(vendor), "-");
  const std::optional<std::string> marks = request.Query(prefix + "Signature");
  if (!marks) return std::nullopt;
  std::tm parts{};
  int64_t seconds = 0;
  if (marks->size() < 16 ||
      strptime(request.Query(prefix + "Date").value_or("").c_str(), "%Y%m%dT%H%M%SZ", &parts) ==
          nullptr ||
      !absl::SimpleAtoi(request.Query(prefix + "Expires").value_or(""), &seconds)) {
    return Signature{};
  }
  return Signature{timegm(&parts) + seconds, marks->substr(0, 16), marks->substr(16)};
}

std::string AzureQuery(const Signature& signature, int64_t seconds) {
  const auto at = [](int64_t time) {
    return UrlEncoded(TimeText(WallTime(std::chrono::seconds(time)), false));
  };
  return absl::StrCat("sv=2022-11-02&st=", at(signature.until - seconds),
                      "&se=", at(signature.until),
                      "&sr=b&sp=r&spr=https&sig=", UrlEncoded(Base64Of(signature)));
}

std::optional<Signature> OfAzureQuery(const Request& request) {
  const std::optional<std::string> mark = request.Query("sig");
  if (!mark) return std::nullopt;
  std::tm parts{};
  if (strptime(request.Query("se").value_or("").c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr) {
    return Signature{};
  }
  return OfBase64(timegm(&parts), *mark).value_or(Signature{});
}

// CloudFront's own alphabet: the characters that a URL would have to escape are others.
std::string CloudFrontText(std::string text, bool back) {
  for (const auto& [plain, changed] :
       {std::pair('+', '-'), std::pair('=', '_'), std::pair('/', '~')}) {
    for (char& c : text) {
      if (c == (back ? changed : plain)) c = back ? plain : changed;
    }
  }
  return text;
}

std::string CloudFrontQuery(const Signature& signature) {
  return absl::StrCat("Expires=", signature.until,
                      "&Signature=", CloudFrontText(Base64Of(signature), false),
                      "&Key-Pair-Id=KEMULATOR0001");
}

std::optional<Signature> OfCloudFrontQuery(const Request& request) {
  const std::optional<std::string> mark = request.Query("Signature");
  if (!mark || !request.Query("Key-Pair-Id")) return std::nullopt;
  int64_t until = 0;
  if (!absl::SimpleAtoi(request.Query("Expires").value_or(""), &until)) return Signature{};
  return OfBase64(until, CloudFrontText(*mark, true)).value_or(Signature{});
}

void SignStrings(rapidjson::Value* value, rapidjson::Document* document,
                 const std::function<std::optional<std::string>(std::string_view)>& sign) {
  if (value->IsArray()) {
    for (rapidjson::Value& item : value->GetArray()) SignStrings(&item, document, sign);
  } else if (value->IsObject()) {
    for (auto it = value->MemberBegin(); it < value->MemberEnd(); ++it) {
      SignStrings(&it->value, document, sign);
    }
  } else if (value->IsString()) {
    if (const auto text = sign({value->GetString(), value->GetStringLength()})) {
      value->SetString(text->c_str(), text->size(), document->GetAllocator());
    }
  }
}

}  // namespace

const std::vector<std::string>& SigningStyles() {
  static const auto* const styles =
      new std::vector<std::string>{"", "s3", "gcs", "azure", "cloudfront"};
  return *styles;
}

std::string SignedUrls::Sign(std::string_view url, std::string_view style, int64_t seconds) const {
  Signature signature;
  signature.until = std::time(nullptr) + seconds;
  signature.nonce = signer_.Sign(NewUuid()).substr(0, 16);
  signature.mark = signer_.Sign(SignedText(FileOf(url), signature.until, signature.nonce));
  const std::string query = style == "azure"        ? AzureQuery(signature, seconds)
                            : style == "cloudfront" ? CloudFrontQuery(signature)
                            : style == "gcs"        ? DatedQuery("Goog", signature, seconds)
                                                    : DatedQuery("Amz", signature, seconds);
  return absl::StrCat(std::string(url), "?", query);
}

std::string SignedUrls::SignAll(std::string_view json, std::string_view public_url,
                                std::string_view style, int64_t seconds) const {
  std::optional<rapidjson::Document> document = ParseJson(json);
  if (!document) return std::string(json);
  const std::string weights = absl::StrCat(std::string(public_url), "/gcs/");
  const std::string datasets = absl::StrCat(std::string(public_url), "/storage/");
  SignStrings(&*document, &*document, [&](std::string_view text) -> std::optional<std::string> {
    const bool ours =
        text.substr(0, weights.size()) == weights || text.substr(0, datasets.size()) == datasets;
    if (!ours || text.find('?') != std::string_view::npos) return std::nullopt;
    return Sign(text, style, seconds);
  });
  return ToText(*document);
}

SignedUrls::Verdict SignedUrls::Check(const Request& request) const {
  std::optional<Signature> signature = OfDatedQuery("Amz", request);
  if (!signature) signature = OfDatedQuery("Goog", request);
  if (!signature) signature = OfAzureQuery(request);
  if (!signature) signature = OfCloudFrontQuery(request);
  if (!signature) return Verdict::kUnsigned;
  // The path has been decoded by now; a file's name that needs encoding was signed encoded.
  const std::string text =
      SignedText(UrlEncoded(FileOf(request.path)), signature->until, signature->nonce);
  if (!signer_.Verify(text, signature->mark)) return Verdict::kWrong;
  return std::time(nullptr) > signature->until ? Verdict::kExpired : Verdict::kGood;
}

}  // namespace finetune::emulator
