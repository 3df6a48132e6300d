#include "tests/emulator/storage_door.h"

#include <ctime>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/job.h"

namespace finetune::emulator {
namespace {

constexpr char kBucket[] = "/storage/finetune-pipeline/";
constexpr char kContentPath[] = "/gcs-content/";

std::string UploadText(const std::string& path, const std::string& date, const std::string& expires,
                       const std::string& signed_headers) {
  return absl::StrCat("PUT\n", path, "\n", date, "\n", expires, "\n", signed_headers);
}

Answer Denied(std::string_view message) { return XmlAnswer(403, "AccessDenied", message); }

// Serves a whole body or one range of it.
Answer Serve(const Request& request, std::shared_ptr<const ByteSource> source,
             const std::string& content_type, const std::string& etag) {
  Answer answer;
  answer.content_type = content_type;
  answer.headers.emplace_back("Accept-Ranges", "bytes");
  answer.headers.emplace_back("ETag", etag);
  if (request.Header("if-match").value_or(etag) != etag) {
    return XmlAnswer(412, "PreconditionFailed", "At least one of the conditions did not hold");
  }
  answer.length = source->size();
  ByteRange range;
  const bool fresh = request.Header("if-range").value_or(etag) == etag;
  const RangeKind kind =
      fresh && request.method == "GET"
          ? ParseRange(request.Header("range").value_or(""), answer.length, &range)
          : RangeKind::kWhole;
  if (kind == RangeKind::kUnsatisfiable) {
    Answer refusal = XmlAnswer(416, "InvalidRange", "The requested range cannot be satisfied");
    refusal.headers.emplace_back("Content-Range", absl::StrCat("bytes */", source->size()));
    return refusal;
  }
  if (kind == RangeKind::kPart) {
    answer.code = 206;
    answer.headers.emplace_back(
        "Content-Range", absl::StrCat("bytes ", range.first, "-", range.last, "/", answer.length));
    answer.offset = range.first;
    answer.length = range.last - range.first + 1;
  }
  answer.source = std::move(source);
  return answer;
}

bool Expired(const std::string& date, const std::string& expires) {
  std::tm parts{};
  int64_t seconds = 0;
  if (strptime(date.c_str(), "%Y%m%dT%H%M%SZ", &parts) == nullptr ||
      !absl::SimpleAtoi(expires, &seconds)) {
    return true;
  }
  return std::time(nullptr) > timegm(&parts) + seconds;
}

// FAST_FLUX's weights are public unless the settings say otherwise; the others' need a signature.
bool IsPrivate(const Job& job, const Settings& settings) {
  if (settings.private_weights == "model") return job.base_model != "FAST_FLUX";
  return settings.private_weights == "all";
}

// The refusal of a private object's caller, unless the signature is good.
std::optional<Answer> RefuseUnsigned(SignedUrls::Verdict verdict) {
  if (verdict == SignedUrls::Verdict::kGood) return std::nullopt;
  if (verdict == SignedUrls::Verdict::kExpired) return Denied("Request has expired");
  if (verdict == SignedUrls::Verdict::kUnsigned) return Denied("Access denied.");
  return XmlAnswer(403, "SignatureDoesNotMatch",
                   "The request signature we calculated does not match the signature you "
                   "provided. Check your key and signing method.");
}

}  // namespace

bool IsStorageCall(const std::string& call) {
  return call == "storage_put" || call == "dataset_get" || call == "weights_get";
}

StorageDoor::StorageDoor(const LiveSettings* settings, const JobStore* jobs, ObjectStore* objects)
    : settings_(settings), jobs_(jobs), objects_(objects), training_token_(NewUuid()) {}

UploadGrant StorageDoor::GrantUpload(const std::string& name, const std::string& extension,
                                     bool is_public) const {
  static const auto* const user = new std::string(NewUuid());
  const std::shared_ptr<const Settings> settings = settings_->Get();
  const std::string path =
      absl::StrCat(kBucket, "uploads/", *user, "/", NewUuid(), "-", name, extension);
  const std::string date = CompactTime(std::time(nullptr));
  const std::string expires = std::to_string(settings->upload_url_seconds);
  const std::string signed_headers =
      is_public ? "content-type;host;x-amz-acl" : "content-type;host";
  UploadGrant grant;
  grant.object_url = settings->public_url + UrlEncoded(path, "/");
  grant.presigned_url = absl::StrCat(
      grant.object_url, "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=",
      UrlEncoded(absl::StrCat("AKIAEMULATOR/", date.substr(0, 8), "/us-east-1/s3/aws4_request")),
      "&X-Amz-Date=", date, "&X-Amz-Expires=", expires,
      "&X-Amz-SignedHeaders=", UrlEncoded(signed_headers),
      "&X-Amz-Signature=", upload_signer_.Sign(UploadText(path, date, expires, signed_headers)));
  return grant;
}

Answer StorageDoor::PutObject(const Request& request) {
  const std::optional<std::string> signature = request.Query("X-Amz-Signature");
  const std::string date = request.Query("X-Amz-Date").value_or("");
  const std::string expires = request.Query("X-Amz-Expires").value_or("");
  const std::string signed_headers = request.Query("X-Amz-SignedHeaders").value_or("");
  if (!signature) return Denied("Access Denied");
  if (!upload_signer_.Verify(UploadText(request.path, date, expires, signed_headers), *signature) ||
      request.Header("content-type") != "application/zip") {
    return XmlAnswer(403, "SignatureDoesNotMatch",
                     "The request signature we calculated does not match the signature you "
                     "provided. Check your key and signing method.");
  }
  if (Expired(date, expires)) return Denied("Request has expired");
  const bool is_public = absl::StrContains(signed_headers, "x-amz-acl");
  const std::optional<std::string> acl = request.Header("x-amz-acl");
  if (is_public && acl != "public-read") {
    return XmlAnswer(403, "SignatureDoesNotMatch",
                     "The request signature we calculated does not match the signature you "
                     "provided. Check your key and signing method.");
  }
  if (!is_public && acl) {
    return Denied("There were headers present in the request which were not signed");
  }
  // S3 would ignore it; here it is a leak that a test must see.
  if (request.Header("x-api-key")) return Denied("x-api-key does not belong in storage");
  if (request.Header("transfer-encoding")) {
    return XmlAnswer(501, "NotImplemented",
                     "A header you provided implies functionality that is not implemented");
  }
  if (!request.Header("content-length")) {
    return XmlAnswer(411, "MissingContentLength",
                     "You must provide the Content-Length HTTP header.");
  }
  if (request.too_large) return XmlAnswer(400, "EntityTooLarge", "Your upload is too large");
  if (request.spooled == nullptr) return XmlAnswer(500, "InternalError", "No room for the object");
  objects_->Put(request.path, {request.spooled, is_public});
  Answer answer = TextAnswer(200, "application/xml", "");
  answer.headers.emplace_back("ETag", absl::StrCat("\"", request.spooled->md5(), "\""));
  return answer;
}

Answer StorageDoor::GetDataset(const Request& request) const {
  if (request.Header("x-api-key")) return Denied("x-api-key does not belong in storage");
  const std::optional<StoredObject> object = objects_->Find(request.path);
  if (!object) return XmlAnswer(404, "NoSuchKey", "The specified key does not exist.");
  if (!object->is_public && request.Header("x-emulator-training") != training_token_) {
    if (auto refusal = RefuseUnsigned(signed_urls_.Check(request))) return std::move(*refusal);
  }
  return Serve(request, object->file, "application/zip",
               absl::StrCat("\"", object->file->md5(), "\""));
}

std::string StorageDoor::GrantDownload(const std::string& cloud_storage_url) const {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  const std::string style = settings->sign_urls.empty() ? "gcs" : settings->sign_urls;
  return signed_urls_.Sign(cloud_storage_url, style, settings->download_url_seconds);
}

std::string StorageDoor::WithSignedUrls(std::string json) const {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  if (settings->sign_urls.empty()) return json;
  return signed_urls_.SignAll(json, settings->public_url, settings->sign_urls,
                              settings->download_url_seconds);
}

Answer StorageDoor::GetWeights(const Request& request) const {
  if (request.Header("x-api-key")) return Denied("x-api-key does not belong in storage");
  const std::string file = request.path.substr(request.path.rfind('/') + 1);
  const std::shared_ptr<const Settings> settings = settings_->Get();
  const std::string id = file.substr(0, file.find(".safetensors"));
  const std::optional<Job> job = jobs_->Find(id);
  if (!job || !job->cloud_storage_url) {
    return XmlAnswer(404, "NoSuchKey", "The specified key does not exist.");
  }
  if (IsPrivate(*job, *settings)) {
    if (auto refusal = RefuseUnsigned(signed_urls_.Check(request))) return std::move(*refusal);
  }
  // /gcs/... answers with hop 1, /gcs-content/N/... with hop N + 1 until there are enough.
  int64_t hop = 0;
  if (absl::StartsWith(request.path, kContentPath)) hop = std::atoll(request.path.c_str() + 13);
  if (hop < settings->weights_redirects) {
    Answer answer = TextAnswer(302, "text/html; charset=UTF-8", "<html>Moved</html>");
    std::string query;
    for (const auto& [name, value] : request.query) {
      absl::StrAppend(&query, query.empty() ? "?" : "&", name, "=", UrlEncoded(value));
    }
    answer.headers.emplace_back(
        "Location", absl::StrCat(settings->public_url, kContentPath, hop + 1, "/", file, query));
    return answer;
  }
  const uint64_t size = job->weights_bytes != 0 ? job->weights_bytes : settings->weights_bytes;
  auto weights = std::make_shared<const Weights>(job->id, size);
  const std::string generation = std::to_string(
      std::chrono::duration_cast<std::chrono::microseconds>(job->created.time_since_epoch())
          .count());
  Answer answer = Serve(request, weights, "application/octet-stream",
                        absl::StrCat("\"", weights->etag(), "\""));
  answer.headers.emplace_back("x-goog-generation", generation);
  answer.headers.emplace_back("x-goog-stored-content-length", std::to_string(weights->size()));
  return answer;
}

}  // namespace finetune::emulator
