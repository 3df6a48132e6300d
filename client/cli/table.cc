#include "client/cli/table.h"

#include <algorithm>
#include <ostream>

namespace finetune::cli {
namespace {

constexpr size_t kGap = 2;

}  // namespace

Table::Table(std::vector<Column> columns, size_t width, bool wide)
    : columns_(std::move(columns)), width_(width) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    widths_.push_back(Width(columns_[i].heading));
    if (wide || !columns_[i].wide_only) shown_.push_back(i);
  }
}

void Table::Add(std::vector<Cell> row) {
  if (width_ == 0 || !headed_) {
    for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], Width(row[i].text));
  }
  rows_.push_back(std::move(row));
}

void Table::Widen(const std::vector<size_t>& widths) {
  for (size_t i = 0; i < widths.size(); ++i) widths_[i] = std::max(widths_[i], widths[i]);
}

size_t Table::Total() const {
  size_t total = kGap * (shown_.size() - 1);
  for (const size_t i : shown_) total += widths_[i];
  return total;
}

void Table::Fit() {
  const auto narrowest = [&](size_t i) {
    return columns_[i].least == 0 ? widths_[i] : std::min(widths_[i], columns_[i].least);
  };
  const auto least_total = [&] {
    size_t total = kGap * (shown_.size() - 1);
    for (const size_t i : shown_) total += narrowest(i);
    return total;
  };
  while (least_total() > width_) {
    const auto last = std::max_element(shown_.begin(), shown_.end(), [&](size_t a, size_t b) {
      return columns_[a].rank < columns_[b].rank;
    });
    if (columns_[*last].rank == 0) break;
    shown_.erase(last);
  }
  while (Total() > width_) {
    // The widest column gives first, so that all that can be cut end up alike.
    size_t* widest = nullptr;
    for (const size_t i : shown_) {
      if (widths_[i] > narrowest(i) && (widest == nullptr || widths_[i] > *widest))
        widest = &widths_[i];
    }
    if (widest == nullptr) return;
    --*widest;
  }
}

void Table::Print(std::ostream& out, const Colours& colours) {
  if (!headed_) {
    if (width_ > 0) Fit();
    std::vector<Cell> row;
    for (const Column& column : columns_) row.push_back({column.heading, Colours::kBold});
    PrintRow(row, out, colours);
    headed_ = true;
  }
  for (const auto& row : rows_) PrintRow(row, out, colours);
  rows_.clear();
  out.flush();
}

void Table::PrintRow(const std::vector<Cell>& row, std::ostream& out,
                     const Colours& colours) const {
  // Empty cells at the end leave no trailing spaces.
  size_t gap = 0;
  for (const size_t i : shown_) {
    const std::string text = width_ > 0 ? Shorten(row[i].text, widths_[i]) : row[i].text;
    if (!text.empty()) out << std::string(gap, ' ') << colours.Paint(row[i].code, text);
    gap = (text.empty() ? gap : 0) + widths_[i] - Width(text) + kGap;
  }
  out << "\n";
}

}  // namespace finetune::cli
