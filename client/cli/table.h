#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/text.h"

namespace finetune::cli {

// A column of a table.
struct Column {
  std::string heading;
  // If there is little room, columns of the highest rank are left out first; those of rank 0 stay.
  int rank = 0;
  // The width to which it may be cut; 0: never cut.
  size_t least = 0;
  // Not shown at all unless a wide table is asked for.
  bool wide_only = false;
};

// One field of a row.
struct Cell {
  std::string text;
  // A colour, as for Colours::Paint.
  std::string_view code = {};
};

// Rows below headings, padded so that columns align, and fitted to a width. Not thread-safe.
class Table {
 public:
  // `width` 0: not fitted.
  Table(std::vector<Column> columns, size_t width, bool wide);

  void Add(std::vector<Cell> row);
  // Makes the columns at least this wide from the first line on; in the order of all columns.
  void Widen(const std::vector<size_t>& widths);
  // Prints and forgets the rows. Prints the headings only once; if the table is fitted, the widths
  // stay as they were then.
  void Print(std::ostream& out, const Colours& colours);

 private:
  size_t Total() const;
  // Leaves out columns, and cuts others, until the rest fits.
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
