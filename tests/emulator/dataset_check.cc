#include "tests/emulator/dataset_check.h"

#include <unistd.h>
#include <zip.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "tests/emulator/fetch.h"
#include "tests/emulator/storage.h"

namespace finetune::emulator {
namespace {

constexpr uint64_t kMostBytes = 100 * 1000 * 1000;
// Beyond that the entries' content is not read; the check is of form, not a decompressor test.
constexpr uint64_t kMostUnpacked = 400 * 1000 * 1000;

constexpr char kDownloadFailed[] = "Download failed";
constexpr char kTooLarge[] = "GPU overloaded, try with smaller dataset";
constexpr char kEmpty[] =
    "Looks like empty dataset. Please do not create subfolders, only zip the images";
constexpr char kBroken[] = "Internal Server Error";

// Reads the entry to its end, which checks its CRC.
bool Readable(zip_t* zip, zip_uint64_t index, uint64_t* unpacked) {
  zip_file_t* entry = zip_fopen_index(zip, index, 0);
  if (entry == nullptr) return false;
  std::array<char, 65536> buffer;
  zip_int64_t got = 0;
  while (*unpacked < kMostUnpacked && (got = zip_fread(entry, buffer.data(), buffer.size())) > 0) {
    *unpacked += got;
  }
  zip_fclose(entry);
  return got >= 0;
}

}  // namespace

std::optional<std::string> CheckZip(int fd) {
  const int own = dup(fd);
  lseek(own, 0, SEEK_SET);
  int error = 0;
  zip_t* zip = zip_fdopen(own, ZIP_CHECKCONS, &error);
  if (zip == nullptr) {
    close(own);
    return kBroken;
  }
  const zip_int64_t count = zip_get_num_entries(zip, 0);
  std::optional<std::string> wrong;
  if (count <= 0) wrong = kEmpty;
  uint64_t unpacked = 0;
  for (zip_int64_t i = 0; i < count && !wrong; ++i) {
    const char* name = zip_get_name(zip, i, ZIP_FL_ENC_RAW);
    if (name == nullptr) {
      wrong = kBroken;
    } else if (std::string_view(name).find('/') != std::string_view::npos) {
      wrong = kEmpty;
    } else if (!Readable(zip, i, &unpacked)) {
      wrong = kBroken;
    }
  }
  zip_discard(zip);
  return wrong;
}

DatasetCheck::DatasetCheck(std::string folder, int threads) : folder_(std::move(folder)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

void DatasetCheck::Check(std::string url, std::vector<std::string> headers, Done done) {
  MutexLock lock(&mu_);
  items_.push_back({std::move(url), std::move(headers), std::move(done)});
  changed_.notify_one();
}

void DatasetCheck::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void DatasetCheck::Run() {
  while (true) {
    Item item;
    {
      MutexLock lock(&mu_);
      while (items_.empty() && !stopping_) changed_.wait(mu_);
      if (stopping_) return;
      item = std::move(items_.front());
      items_.pop_front();
    }
    std::optional<std::string> error = CheckOne(item);
    if (!stopping_) item.done(std::move(error));
  }
}

std::optional<std::string> DatasetCheck::CheckOne(const Item& item) const {
  FetchRequest request;
  request.method = "HEAD";
  request.url = item.url;
  request.headers = item.headers;
  request.cancelled = &stopping_;
  const FetchResult head = Fetch(request);
  if (head.code != 200 || !head.content_length) return kDownloadFailed;
  if (*head.content_length > kMostBytes) return kTooLarge;

  const std::shared_ptr<StoredFile> file = StoredFile::Create(folder_);
  if (file == nullptr) return kBroken;
  request.method = "GET";
  bool too_large = false;
  request.on_bytes = [&](std::string_view bytes) {
    too_large = file->size() + bytes.size() > kMostBytes;
    return !too_large && file->Append(bytes);
  };
  const FetchResult get = Fetch(request);
  if (too_large) return kTooLarge;
  if (get.code != 200 || !get.content_length) return kDownloadFailed;
  return CheckZip(file->fd());
}

}  // namespace finetune::emulator
