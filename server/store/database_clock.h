#pragma once

#include "absl/time/time.h"

namespace finetune {

// How the database's clock stands to this process's steady one, as far as its latest answer tells:
// it said its time at some moment between a question and its answer. What is converted is never
// later than the truth, so that no age looks smaller than it is. A value.
class DatabaseClock {
 public:
  void Note(absl::Time sent, absl::Time received, absl::Time said) {
    least_ahead_ = said - received;
    most_ahead_ = said - sent;
  }

  absl::Time ToDatabase(absl::Time steady) const { return steady + least_ahead_; }
  absl::Time ToSteady(absl::Time database) const { return database - most_ahead_; }
  // The other bound: never earlier than the truth.
  absl::Time ToSteadyAtMost(absl::Time database) const { return database - least_ahead_; }
  absl::Time ToDatabaseAtMost(absl::Time steady) const { return steady + most_ahead_; }

 private:
  absl::Duration least_ahead_;
  absl::Duration most_ahead_;
};

}  // namespace finetune
