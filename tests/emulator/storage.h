#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tests/emulator/http.h"
#include "tests/emulator/mutex.h"

struct evp_md_ctx_st;

namespace finetune::emulator {

// A body on its way to disk, then the object made of it: a file without a name, which the kernel
// removes with the process. Written by one thread; once finished, read by any number.
class StoredFile : public ByteSource {
 public:
  // Null if no file can be made in `folder`.
  static std::shared_ptr<StoredFile> Create(const std::string& folder);
  ~StoredFile() override;

  bool Append(std::string_view bytes);
  // No more bytes follow.
  void Finish();

  uint64_t size() const override { return size_; }
  bool Read(uint64_t offset, char* buffer, size_t count) const override;
  // The MD5 in hex, as S3 makes its ETag of it. Valid after Finish().
  const std::string& md5() const { return md5_; }
  int fd() const { return fd_; }

 private:
  explicit StoredFile(int fd);

  const int fd_;
  uint64_t size_ = 0;
  std::string md5_;
  evp_md_ctx_st* digest_;
};

// A valid .safetensors file of any size, made up as it is read: the same bytes for the same id.
// Immutable.
class Weights : public ByteSource {
 public:
  Weights(std::string_view id, uint64_t size);

  uint64_t size() const override { return header_.size() + data_size_; }
  bool Read(uint64_t offset, char* buffer, size_t count) const override;
  // Hex digits that stand for the content.
  std::string etag() const;
  // SHA-256 of the whole file in hex. Reads all of it: about a second for each GB.
  std::string Sha256() const;

 private:
  std::string header_;  // Length and JSON header, as the format has it.
  uint64_t seed_;
  uint64_t data_size_;
};

// An uploaded object and how it may be read.
struct StoredObject {
  std::shared_ptr<const StoredFile> file;
  bool is_public = false;
};

// The objects by path. Thread-safe. Owned by main.
class ObjectStore {
 public:
  void Put(const std::string& path, StoredObject object);
  std::optional<StoredObject> Find(const std::string& path) const;
  void Clear();
  size_t size() const;

 private:
  mutable Mutex mu_;
  // Guarded by mu_.
  std::map<std::string, StoredObject> objects_ ABSL_GUARDED_BY(mu_);
};

// Makes and checks signatures of URLs. Immutable; the key is random per process.
class UrlSigner {
 public:
  UrlSigner();
  // Hex of an HMAC over the text.
  std::string Sign(std::string_view text) const;
  bool Verify(std::string_view text, std::string_view signature) const;

 private:
  std::string key_;
};

}  // namespace finetune::emulator
