#pragma once

#include <string>

namespace finetune::cli {

// What the two outputs are connected to, and what may be written there. Colours, progress lines and
// fitted tables are for terminals only.
struct Terminal {
  // Whether each output is a terminal.
  bool out = false;
  bool err = false;
  // Its width; zero: ask the terminal each time.
  int columns = 0;
  // Lines can be overwritten; false if TERM is dumb.
  bool rewrites = true;
  // False if NO_COLOR is set or TERM is dumb.
  bool coloured = true;
  // The locale uses UTF-8.
  bool utf8 = true;

  // The width of the terminal now.
  int Columns() const;
};

// The terminal of this process.
Terminal ThisTerminal();

}  // namespace finetune::cli
