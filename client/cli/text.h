// Text for people: safe to print, short, aligned.
#pragma once

#include <google/protobuf/timestamp.pb.h>
#include <segmind/finetune/v1/fine_tune.pb.h>

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace finetune::cli {

namespace pb = ::segmind::finetune::v1;

// Without what would move the cursor or colour the terminal: control characters become spaces.
std::string Printable(std::string_view text);

// How many columns the UTF-8 text takes, one per character.
size_t Width(std::string_view text);

// At most `width` columns; cut with an ellipsis.
std::string Shorten(std::string_view text, size_t width);

// "42s", "3m07s", "2h05m", "3d04h".
std::string ShortDuration(absl::Duration duration);

absl::Time ToTime(const google::protobuf::Timestamp& time);
// "3m07s ago"; "-" without a time.
std::string Age(const google::protobuf::Timestamp& time, absl::Time now);
// "2026-03-01 12:00:00Z"; "-" without a time.
std::string Moment(const google::protobuf::Timestamp& time);
// "1.2 MB".
std::string Bytes(double count);

// The escape sequences of one output; empty ones where colours are not wanted.
class Colours {
 public:
  explicit Colours(bool enabled) : enabled_(enabled) {}

  std::string State(pb::FineTune::State state, std::string_view text) const;
  std::string Bold(std::string_view text) const;
  std::string Dim(std::string_view text) const;

 private:
  std::string Wrap(const char* code, std::string_view text) const;

  const bool enabled_;
};

// One line of a table; the width of a cell is that of its text, whatever its colour.
struct Cell {
  std::string text;
  // How it is printed; empty for the text itself.
  std::string coloured = {};
};

// Rows below headings, padded so that columns align; the last column is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> headings);

  void Add(std::vector<Cell> row);
  // At least as wide, from the first line on.
  void Widen(const std::vector<size_t>& widths);
  // Prints and forgets the rows. Later rows keep at least the widths of earlier ones; headings come
  // once.
  void Print(std::ostream& out, const Colours& colours);

 private:
  void PrintRow(const std::vector<Cell>& row, std::ostream& out) const;

  const std::vector<std::string> headings_;
  std::vector<size_t> widths_;
  std::vector<std::vector<Cell>> rows_;
  bool headed_ = false;
};

}  // namespace finetune::cli
