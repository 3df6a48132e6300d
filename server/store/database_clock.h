#pragma once

#include "absl/time/time.h"

namespace finetune {

// Converts between the database's clock and this process's steady one, as exactly as the latest
// answer allows: the database read its clock at some moment between the question and the answer. A
// converted time is never later than the true one, so that no age looks smaller than it is. A
// value.
class DatabaseClock {
 public:
  // The database's clock showed `said` in the answer to a question.
  void Note(absl::Time sent, absl::Time received, absl::Time said) {
    least_ahead_ = said - received;
    most_ahead_ = said - sent;
  }

  absl::Time ToDatabase(absl::Time steady) const { return steady + least_ahead_; }
  absl::Time ToSteady(absl::Time database) const { return database - most_ahead_; }
  // The other bound: never earlier than the true time.
  absl::Time ToSteadyAtMost(absl::Time database) const { return database - least_ahead_; }
  absl::Time ToDatabaseAtMost(absl::Time steady) const { return steady + most_ahead_; }

 private:
  absl::Duration least_ahead_;
  absl::Duration most_ahead_;
};

}  // namespace finetune
