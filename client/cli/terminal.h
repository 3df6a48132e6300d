#pragma once

#include <string>

namespace finetune::cli {

// What the two outputs are connected to, and what may be written there. Colours, progress lines and
// tables that are fitted are for terminals only.
struct Terminal {
  bool out = false;
  bool err = false;
  // Columns; zero: those of the terminal, as it is at each moment.
  int columns = 0;
  // A line can be written over. Not where TERM is dumb.
  bool rewrites = true;
  // NO_COLOR is not set, nor is TERM dumb.
  bool coloured = true;
  // The locale's characters are UTF-8.
  bool utf8 = true;

  // Of the terminal now.
  int Columns() const;
};

// This process's own.
Terminal ThisTerminal();

}  // namespace finetune::cli
