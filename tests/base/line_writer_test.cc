#include "server/base/line_writer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr size_t kPlenty = 1 << 20;

std::string TellDropped(uint64_t lines) { return absl::StrCat("dropped ", lines); }

// What is written to its one end comes out of the other.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(ends_), 0); }
  ~Pipe() {
    CloseReader();
    CloseWriter();
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void CloseReader() { Close(ends_[0]); }
  void CloseWriter() { Close(ends_[1]); }

  // All lines until the writer's end is closed.
  std::vector<std::string> ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends_[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

 private:
  static void Close(int& end) {
    if (end >= 0) close(std::exchange(end, -1));
  }
  int ends_[2] = {-1, -1};
};

TEST(LineWriter, WritesEachThreadsLinesInOrderAndWhole) {
  Pipe pipe;
  std::vector<std::string> lines;
  std::thread reader([&] { lines = pipe.ReadAll(); });
  {
    LineWriter writer(pipe.writer(), kPlenty, TellDropped);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&writer, t] {
        for (int i = 0; i < 500; ++i) writer.Append(absl::StrCat(t, " ", i));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  pipe.CloseWriter();
  reader.join();
  ASSERT_EQ(lines.size(), 2000u);
  int next[4] = {};
  for (const std::string& line : lines) {
    int t = 0, i = 0;
    ASSERT_EQ(sscanf(line.c_str(), "%d %d", &t, &i), 2) << line;
    EXPECT_EQ(i, next[t]++);
  }
}

TEST(LineWriter, HasWrittenAllAfterAFlush) {
  Pipe pipe;
  LineWriter writer(pipe.writer(), kPlenty, TellDropped);
  writer.Append("a");
  writer.Append("b");
  writer.Flush(absl::Minutes(1));
  char buffer[16];
  ASSERT_EQ(read(pipe.reader(), buffer, sizeof(buffer)), 4);
  EXPECT_EQ(std::string(buffer, 4), "a\nb\n");
}

// Nobody reads: what waits stays bounded, nobody waits for long, and afterwards a line says what is
// missing.
TEST(LineWriter, DropsTheOldestWhereNobodyReadsAndSaysHowMany) {
  Pipe pipe;
  auto writer = std::make_unique<LineWriter>(pipe.writer(), 100'000, TellDropped);
  constexpr int kLines = 1000;
  const std::string rest(1000, 'x');
  for (int i = 0; i < kLines; ++i) writer->Append(absl::StrCat(i, " ", rest));
  writer->Flush(absl::Milliseconds(1));
  std::vector<std::string> lines;
  std::thread reader([&] { lines = pipe.ReadAll(); });
  writer.reset();
  pipe.CloseWriter();
  reader.join();
  int seen = 0, dropped = 0, last = -1;
  for (const std::string& line : lines) {
    int number = 0;
    if (sscanf(line.c_str(), "dropped %d", &number) == 1) {
      dropped += number;
      continue;
    }
    ASSERT_EQ(sscanf(line.c_str(), "%d", &number), 1);
    EXPECT_GT(number, last);
    last = number;
    ++seen;
  }
  EXPECT_EQ(seen + dropped, kLines);
  EXPECT_GT(dropped, 500);
  EXPECT_EQ(last, kLines - 1);
}

TEST(LineWriter, ALineThatIsLongerThanAllThatMayWaitIsWritten) {
  Pipe pipe;
  std::vector<std::string> lines;
  std::thread reader([&] { lines = pipe.ReadAll(); });
  { LineWriter(pipe.writer(), 10, TellDropped).Append(std::string(200'000, 'y')); }
  pipe.CloseWriter();
  reader.join();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].size(), 200'000u);
}

TEST(LineWriter, GoesOnWhereTheOtherEndIsGone) {
  signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  LineWriter writer(pipe.writer(), kPlenty, TellDropped);
  pipe.CloseReader();
  for (int i = 0; i < 100; ++i) writer.Append("nobody reads it");
  writer.Flush(absl::Minutes(1));
}

}  // namespace
}  // namespace finetune
