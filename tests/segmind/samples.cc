#include "tests/segmind/samples.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "server/base/error.h"

namespace finetune {
namespace {

std::set<std::string> KeysOf(const std::string& json) {
  std::set<std::string> keys;
  std::istringstream lines(json);
  for (std::string line; std::getline(lines, line);) {
    const size_t end = line.find("\":");
    if (!line.empty() && line[0] == '"' && end != std::string::npos)
      keys.insert(line.substr(1, end - 1));
  }
  return keys;
}

std::string Nested(int depth, const std::string& open, const std::string& close) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += "1";
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

// One member at a time.
void AddMemberVariations(const std::string& sample, std::vector<Variation>& all) {
  const std::vector<std::pair<std::string, std::string>> values = {
      {"null", "null"},
      {"true", "true"},
      {"a number", "-12345678901234567890123"},
      {"a fraction", "0.5e-3"},
      {"an empty text", "\"\""},
      {"text", "\"True\""},
      {"an array", "[1, [2, {\"a\": null}]]"},
      {"an object", "{\"id\": {\"id\": \"x\"}}"},
      {"invalid UTF-8", "\"\xff\xfe\xc0\xaf\""},
      {"escapes", R"("\u0000\ud83d\ude00\"\\/\n")"},
  };
  for (const std::string& key : KeysOf(sample)) {
    all.push_back({key + " missing", WithoutMember(sample, key)});
    for (const auto& [name, value] : values)
      all.push_back({key + " is " + name, WithValue(sample, key, value)});
  }
}

// All members at once, or something in front or behind.
void AddWholeVariations(const std::string& sample, std::vector<Variation>& all) {
  const std::string long_text = "\"" + std::string(10 << 20, 'x') + "\"";
  const std::string first_key = KeysOf(sample).empty() ? "x" : *KeysOf(sample).begin();
  all.insert(
      all.end(),
      {{"empty", ""},
       {"white space", " \n\t "},
       {"HTML", "<html><body><h1>502 Bad Gateway</h1></body></html>"},
       {"null", "null"},
       {"true", "true"},
       {"a number", "200"},
       {"a text", "\"ok\""},
       {"an empty array", "[]"},
       {"an empty object", "{}"},
       {"an array of null", "[null]"},
       {"an array of scalars", "[1, \"a\", false, null]"},
       {"an error", "{\"error\": \"no such thing\"}"},
       {"wrapped in finetunes", "{\"finetunes\": " + sample + "}"},
       {"wrapped in data", "{\"total\": 1, \"data\": " + sample + ", \"next\": null}"},
       {"wrapped in an array", "[" + sample + "]"},
       {"with a byte order mark", "\xef\xbb\xbf" + sample},
       {"with garbage behind", sample + "x"},
       {"twice", sample + sample},
       {"with a NUL behind", sample + std::string(1, '\0')},
       {"with a NUL in front", std::string(1, '\0') + sample},
       {"in UTF-16", std::string("\xff\xfe{\0}\0", 6)},
       {"a long text", long_text},
       {"a long member", WithValue(sample, first_key, long_text)},
       {"a deep array", Nested(1'000'000, "[", "]")},
       {"a deep object", Nested(1'000'000, "{\"a\":", "}")},
       {"an open array", std::string(1'000'000, '[')},
       {"a deep member", WithValue(sample, first_key, Nested(100'000, "[", "]"))},
       {"a member as deep as is kept", WithValue(sample, first_key, Nested(60, "{\"a\":", "}"))},
       {"only quotes", std::string(1001, '"')},
       {"only backslashes", "[\"" + std::string(1001, '\\')},
       {"a huge number", WithValue(sample, first_key, "1e999")},
       {"not a number", WithValue(sample, first_key, "NaN")},
       {"single quotes", "{'id': 'x'}"},
       {"a comma too many", "[{\"id\": \"x\"},]"},
       {"a comma too few", "[{\"id\": \"x\"} {\"id\": \"y\"}]"},
       {"a comment", "[{\"id\": \"x\"} /* more */]"}});
  for (int tenth = 1; tenth < 10; ++tenth) {
    all.push_back({"cut after " + std::to_string(tenth) + "0 %",
                   sample.substr(0, sample.size() * tenth / 10)});
  }
}

}  // namespace

std::string Sample(std::string_view file) {
  std::ifstream in(FINETUNE_SOURCE_DIR "/tests/segmind/data/" + std::string(file));
  EXPECT_TRUE(in.good()) << file;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string WithValue(std::string json, std::string_view key, std::string_view value) {
  const std::string quoted = "\"" + std::string(key) + "\": ";
  for (size_t at = 0; (at = json.find(quoted, at)) != std::string::npos;) {
    at += quoted.size();
    size_t end = std::min(json.find('\n', at), json.size());
    // An object's first line only; its members follow as the outer object's.
    const bool opens = json[end - 1] == '{' || json[end - 1] == '[';
    if (json[end - 1] == ',') --end;
    json.replace(at, end - at, value);
    if (opens) {
      const size_t close = json.find("\n}", at);
      if (close != std::string::npos)
        json.replace(at + value.size(), close + 2 - at - value.size(), "");
    }
    at += value.size();
  }
  return json;
}

std::string WithoutMember(std::string json, std::string_view key) {
  // Renamed, which is an extra member at the same time.
  const std::string quoted = "\"" + std::string(key) + "\": ";
  for (size_t at = 0; (at = json.find(quoted, at)) != std::string::npos; ++at)
    json.replace(at + 1, key.size(), "x_" + std::string(key));
  return json;
}

std::vector<Variation> HostileVariations(const std::string& sample) {
  std::vector<Variation> all;
  AddMemberVariations(sample, all);
  AddWholeVariations(sample, all);
  return all;
}

bool IsValidUtf8(std::string_view text) { return ValidUtf8(text) == text; }

}  // namespace finetune
