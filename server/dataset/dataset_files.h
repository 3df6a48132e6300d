// What the files of a dataset are, by their names and by their first bytes: the only such list.
#pragma once

#include <string_view>

namespace finetune {

// Names without folders, in any case.

// .jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, .tiff, .heic, .heif, .avif
bool IsImageName(std::string_view name);
// A text that may belong to the image of the same stem: .txt, .caption
bool IsCaptionName(std::string_view name);
// Files that describe several images: metadata.jsonl, metadata.csv
bool IsMetadataName(std::string_view name);
bool IsArchiveName(std::string_view name);
// Files that desktop systems leave behind and that users did not mean to add.
bool IsJunkName(std::string_view name);
// The name without its last extension.
std::string_view StemOf(std::string_view name);

// How many of a file's first bytes tell what it is.
inline constexpr size_t kTellingHead = 64;

// JPEG, PNG and so on, by the first bytes of a file; empty if it is not an image that training
// takes.
std::string_view ImageFormat(std::string_view head);
// What a file that is no image seems to be, with its article: "a web page", "an empty file".
std::string_view KindOfNoImage(std::string_view head);

}  // namespace finetune
