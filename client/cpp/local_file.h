// Errors of this machine's own files and disks, kept apart from those of the gateway or of
// Segmind's storage.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace finetune::inline client {

// FAILED_PRECONDITION whatever the error is, so that no full disk looks like a quota: "cannot write
// w.part: No space left on device (ENOSPC)". `error` is an errno.
absl::Status LocalFileError(std::string_view what, std::string_view path, int error);
// The same for what has no errno, such as "it is a directory".
absl::Status LocalFileError(std::string_view what, std::string_view path, std::string_view why);

// Whether LocalFileError() made it. Trying again does not help, and nobody else is to blame.
bool IsLocalFileError(const absl::Status& status);

// Locks the open regular file against other processes, if `path` still names it.
// FAILED_PRECONDITION while another process holds the lock; UNAVAILABLE if the name is gone or now
// names another file: open it again.
absl::Status LockNamed(int file, const std::string& path);

// Makes the names in the file's folder durable.
absl::Status SyncFolderOf(const std::string& path);

// Writes the file, replacing what it held.
absl::Status WriteFile(const std::string& path, std::string_view content, int mode = 0644);
// The same, but atomically: a reader sees either the old content or the new.
absl::Status ReplaceFile(const std::string& path, std::string_view content);

}  // namespace finetune::inline client
