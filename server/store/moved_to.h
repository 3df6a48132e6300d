#pragma once

#include <string>
#include <string_view>

namespace finetune {

// What a record says of where it went (`moved_to`). While it is under way the place that it goes to
// may have all of it already, or nothing: no gateway may start here before that is known.

// Words for: it is under way to a place. (That it is there now says the name of the place alone.)
std::string MoveUnderWayTo(std::string_view place);
// The place that it is under way to; empty if it is not.
std::string_view UnderWayTo(std::string_view moved_to);

// Why no gateway starts where a record says this, as the end of a sentence that begins with where
// that is. `moved_to` is not empty.
std::string WhyNotHere(std::string_view moved_to);

}  // namespace finetune
