#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/text.h"

namespace finetune::cli {

struct Column {
  std::string heading;
  // Where there is little room the columns of the highest rank go first; those of rank 0 stay.
  int rank = 0;
  // May be cut down to this many columns; 0: never cut.
  size_t least = 0;
  // Not shown at all unless a wide table is asked for.
  bool wide_only = false;
};

// One field of a row.
struct Cell {
  std::string text;
  // A code of Colours.
  std::string_view code = {};
};

// Rows below headings, padded so that columns align, and fitted to a width.
class Table {
 public:
  // `width` 0: as wide as it is.
  Table(std::vector<Column> columns, size_t width, bool wide);

  void Add(std::vector<Cell> row);
  // At least as wide, from the first line on; in the order of all columns.
  void Widen(const std::vector<size_t>& widths);
  // Prints and forgets the rows. Headings come once, and the widths stay what they were then where
  // the table is fitted.
  void Print(std::ostream& out, const Colours& colours);

 private:
  size_t Total() const;
  // Drops columns, and cuts others, until the rest has room.
  void Fit();
  void PrintRow(const std::vector<Cell>& row, std::ostream& out, const Colours& colours) const;

  const std::vector<Column> columns_;
  const size_t width_;
  // Indices of the columns that are shown.
  std::vector<size_t> shown_;
  std::vector<size_t> widths_;
  std::vector<std::vector<Cell>> rows_;
  bool headed_ = false;
};

}  // namespace finetune::cli
