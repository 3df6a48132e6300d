#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define FINETUNE_CONCAT_(a, b) a##b
#define FINETUNE_CONCAT(a, b) FINETUNE_CONCAT_(a, b)

// Returns the status of `expr` from the enclosing function unless it is OK.
#define RETURN_IF_ERROR(expr)                                         \
  do {                                                                \
    if (absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

// Assigns (or declares) `lhs` from the StatusOr `expr`, or returns its status.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_(FINETUNE_CONCAT(status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_(result, lhs, expr) \
  auto result = (expr);                      \
  if (!result.ok()) return result.status();  \
  lhs = std::move(result).value()
