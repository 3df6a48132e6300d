#include "tests/emulator/storage.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

std::string Hex(const unsigned char* bytes, size_t count) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 15];
  }
  return out;
}

uint64_t Mixed(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string SafetensorsHeader(uint64_t data_size) {
  const std::string count = std::to_string(data_size);
  std::string json = absl::StrCat(
      R"({"__metadata__":{"format":"pt","made_by":"segmind-emulator"},)",
      R"("lora.weight":{"dtype":"U8","shape":[)", count, R"(],"data_offsets":[0,)", count, "]}}");
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string header(8, '\0');
  for (int i = 0; i < 8; ++i) header[i] = static_cast<char>(json.size() >> (8 * i));
  return header + json;
}

}  // namespace

std::shared_ptr<StoredFile> StoredFile::Create(const std::string& folder) {
  int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {  // Not every file system knows O_TMPFILE.
    std::string name = folder + "/segmind-emulator-XXXXXX";
    fd = mkostemp(name.data(), O_CLOEXEC);
    if (fd < 0) return nullptr;
    unlink(name.c_str());
  }
  return std::shared_ptr<StoredFile>(new StoredFile(fd));
}

StoredFile::StoredFile(int fd) : fd_(fd), digest_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(digest_, EVP_md5(), nullptr);
}

StoredFile::~StoredFile() {
  EVP_MD_CTX_free(digest_);
  close(fd_);
}

bool StoredFile::Append(std::string_view bytes) {
  EVP_DigestUpdate(digest_, bytes.data(), bytes.size());
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    size_ += written;
    bytes.remove_prefix(written);
  }
  return true;
}

void StoredFile::Finish() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(digest_, hash, &length);
  md5_ = Hex(hash, length);
}

bool StoredFile::Read(uint64_t offset, char* buffer, size_t count) const {
  while (count > 0) {
    const ssize_t got = pread(fd_, buffer, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    buffer += got;
    offset += got;
    count -= got;
  }
  return true;
}

Weights::Weights(std::string_view id, uint64_t size) : seed_(Fnv1a(id)) {
  // The header's length depends on the data's, which is what is left of the size: a few tries
  // settle it, or a few bytes of padding differ.
  data_size_ = size;
  for (int i = 0; i < 3; ++i) {
    header_ = SafetensorsHeader(data_size_);
    data_size_ = size > header_.size() ? size - header_.size() : 0;
  }
  header_ = SafetensorsHeader(data_size_);
}

bool Weights::Read(uint64_t offset, char* buffer, size_t count) const {
  if (offset < header_.size()) {
    const size_t part = std::min<uint64_t>(count, header_.size() - offset);
    std::memcpy(buffer, header_.data() + offset, part);
    buffer += part;
    count -= part;
    offset += part;
  }
  uint64_t at = offset - header_.size();
  while (count > 0) {
    if (at % 8 == 0) {
      // Whole words are nearly all of it.
      for (; count >= 8; count -= 8, buffer += 8, at += 8) {
        const uint64_t word = Mixed(seed_ + at / 8);
        std::memcpy(buffer, &word, 8);
      }
      if (count == 0) break;
    }
    const uint64_t word = Mixed(seed_ + at / 8);
    const size_t skip = at % 8;
    const size_t part = std::min<size_t>(count, 8 - skip);
    std::memcpy(buffer, reinterpret_cast<const char*>(&word) + skip, part);
    buffer += part;
    count -= part;
    at += part;
  }
  return true;
}

std::string Weights::etag() const {
  const uint64_t words[] = {Mixed(seed_), Mixed(seed_ ^ data_size_)};
  return Hex(reinterpret_cast<const unsigned char*>(words), sizeof(words));
}

std::string Weights::Sha256() const {
  EVP_MD_CTX* digest = EVP_MD_CTX_new();
  EVP_DigestInit_ex(digest, EVP_sha256(), nullptr);
  std::vector<char> buffer(1 << 20);
  for (uint64_t at = 0; at < size();) {
    const size_t part = std::min<uint64_t>(buffer.size(), size() - at);
    Read(at, buffer.data(), part);
    EVP_DigestUpdate(digest, buffer.data(), part);
    at += part;
  }
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(digest, hash, &length);
  EVP_MD_CTX_free(digest);
  return Hex(hash, length);
}

void ObjectStore::Put(const std::string& path, StoredObject object) {
  MutexLock lock(&mu_);
  objects_[path] = std::move(object);
}

std::optional<StoredObject> ObjectStore::Find(const std::string& path) const {
  MutexLock lock(&mu_);
  const auto it = objects_.find(path);
  if (it == objects_.end()) return std::nullopt;
  return it->second;
}

void ObjectStore::Clear() {
  MutexLock lock(&mu_);
  objects_.clear();
}

size_t ObjectStore::size() const {
  MutexLock lock(&mu_);
  return objects_.size();
}

UrlSigner::UrlSigner() {
  std::random_device random;
  for (int i = 0; i < 32; ++i) key_ += static_cast<char>(random());
}

std::string UrlSigner::Sign(std::string_view text) const {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash, &length);
  return Hex(hash, length);
}

bool UrlSigner::Verify(std::string_view text, std::string_view signature) const {
  const std::string expected = Sign(text);
  return expected.size() == signature.size() &&
         CRYPTO_memcmp(expected.data(), signature.data(), expected.size()) == 0;
}

}  // namespace finetune::emulator
