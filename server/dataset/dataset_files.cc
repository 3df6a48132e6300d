#include "server/dataset/dataset_files.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "server/base/absl_view.h"

namespace finetune {
namespace {

constexpr absl::string_view kImages[] = {".jpg", ".jpeg", ".png",  ".webp", ".bmp", ".gif",
                                         ".tif", ".tiff", ".heic", ".heif", ".avif"};
constexpr absl::string_view kCaptions[] = {".txt", ".caption"};
constexpr absl::string_view kArchives[] = {".zip", ".tar", ".gz",  ".tgz", ".bz2",
                                           ".xz",  ".7z",  ".rar", ".zst"};
// Brands of the ISO base media format that are still images (HEIF, AVIF).
constexpr absl::string_view kImageBrands[] = {"heic", "heix", "heim", "heis", "hevc",
                                              "hevx", "mif1", "msf1", "avif", "avis"};

template <size_t N>
bool EndsWithAny(std::string_view name, const absl::string_view (&endings)[N]) {
  return std::any_of(std::begin(endings), std::end(endings), [&](absl::string_view ending) {
    return name.size() > ending.size() && absl::EndsWithIgnoreCase(AbslView(name), ending);
  });
}

bool HasImageBrand(std::string_view head) {
  return head.size() >= 12 && head.substr(4, 4) == "ftyp" &&
         std::any_of(std::begin(kImageBrands), std::end(kImageBrands),
                     [&](absl::string_view brand) { return AbslView(head.substr(8, 4)) == brand; });
}

}  // namespace

bool IsImageName(std::string_view name) { return EndsWithAny(name, kImages); }

bool IsCaptionName(std::string_view name) { return EndsWithAny(name, kCaptions); }

bool IsMetadataName(std::string_view name) {
  return absl::EqualsIgnoreCase(AbslView(name), "metadata.jsonl") ||
         absl::EqualsIgnoreCase(AbslView(name), "metadata.csv");
}

bool IsArchiveName(std::string_view name) { return EndsWithAny(name, kArchives); }

bool IsJunkName(std::string_view name) {
  return absl::StartsWith(AbslView(name), "._") || name == ".DS_Store" ||
         absl::EqualsIgnoreCase(AbslView(name), "Thumbs.db") ||
         absl::EqualsIgnoreCase(AbslView(name), "desktop.ini");
}

std::string_view StemOf(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == name.npos || dot == 0 ? name : name.substr(0, dot);
}

std::string_view ImageFormat(std::string_view head) {
  const absl::string_view bytes = AbslView(head);
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return "JPEG";
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return "PNG";
  if (absl::StartsWith(bytes, "GIF87a") || absl::StartsWith(bytes, "GIF89a")) return "GIF";
  if (absl::StartsWith(bytes, "RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP")
    return "WebP";
  if (absl::StartsWith(bytes, "BM") && head.size() >= 14) return "BMP";
  if (absl::StartsWith(bytes, absl::string_view("II*\0", 4)) ||
      absl::StartsWith(bytes, absl::string_view("MM\0*", 4)))
    return "TIFF";
  if (HasImageBrand(head)) return "HEIF";
  return "";
}

std::string_view KindOfNoImage(std::string_view head) {
  if (head.empty()) return "an empty file";
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(AbslView(head));
  const auto begins = [&](absl::string_view with) {
    return absl::StartsWithIgnoreCase(text, with);
  };
  if (begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body"))
    return "a web page";
  if (begins("<svg")) return "an SVG drawing";
  if (begins("<")) return "XML or HTML";
  if (begins("version https://git-lfs")) return "a Git LFS pointer";
  if (begins("{") || begins("[")) return "JSON";
  if (begins("%PDF")) return "a PDF";
  if (begins("PK\3\4")) return "a zip";
  if (head.size() >= 8 && head.substr(4, 4) == "ftyp") return "a video";
  const bool readable = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c >= 0x20 || absl::ascii_isspace(c);
  });
  return readable ? "text" : "a file of another kind";
}

}  // namespace finetune
