#pragma once

#include <string>

namespace finetune {

// What a caller may do; each role may do all that those before it may.
enum class Role { kViewer, kSubmitter, kAdmin };

// Who makes a call. Immutable once made.
struct Caller {
  // As it appears in `creator`; empty where nobody is told apart.
  std::string identity;
  Role role = Role::kViewer;
  // Otherwise only the jobs that it created; others' are NOT_FOUND to it.
  bool sees_all = false;
};

}  // namespace finetune
