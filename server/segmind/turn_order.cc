#include "server/segmind/turn_order.h"

namespace finetune {

TurnOrder::TurnOrder(const std::vector<const CallWant*>& waiting, const MadeCalls& made)
    : waiting_(waiting) {
  for (size_t number = 0; number < waiting.size(); ++number) {
    const CallWant& want = *waiting[number];
    Line& line = lines_[{want.priority, want.sharer.get()}];
    if (line.numbers.empty()) {
      line.rank = made.By(want.sharer.get()).size();
      heads_.emplace(want.priority, line.rank, number, &line);
    }
    line.numbers.push_back(number);
  }
}

std::optional<size_t> TurnOrder::Next() {
  if (line_ != nullptr && ++line_->next < line_->numbers.size()) {
    const size_t number = line_->numbers[line_->next];
    heads_.emplace(waiting_[number]->priority, line_->rank, number, line_);
  }
  line_ = nullptr;
  if (heads_.empty()) return current_ = std::nullopt;
  current_ = std::get<2>(heads_.top());
  line_ = std::get<Line*>(heads_.top());
  heads_.pop();
  return current_;
}

CallsAhead TurnOrder::Ahead() const {
  const auto own = own_.find(waiting_[*current_]->sharer.get());
  return {.groups = groups_, .own = own == own_.end() ? 0 : own->second};
}

void TurnOrder::Keep() {
  const CallWant& want = *waiting_[*current_];
  ++line_->rank;
  ++own_[want.sharer.get()];
  ForEachGroupOf(want.priority, [&](size_t group) { ++groups_[group]; });
}

}  // namespace finetune
