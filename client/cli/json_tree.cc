#include "client/cli/json_tree.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace finetune::cli {
namespace {

constexpr int kDeepest = 64;

class Parser {
 public:
  explicit Parser(std::string_view json) : rest_(json) {}

  bool ParseAll(JsonTree& tree) {
    if (!Value(tree, 0)) return false;
    Space();
    return rest_.empty();
  }

 private:
  void Space() {
    while (!rest_.empty() && absl::ascii_isspace(rest_.front())) rest_.remove_prefix(1);
  }
  bool Take(std::string_view text) {
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  bool Value(JsonTree& tree, int depth) {
    using Kind = JsonTree::Kind;
    Space();
    if (rest_.empty() || depth > kDeepest) return false;
    if (rest_.front() == '{') return Object(tree, depth);
    if (rest_.front() == '[') return List(tree, depth);
    if (rest_.front() == '"') {
      tree.kind = Kind::kString;
      return String(tree.text);
    }
    for (const auto& [word, kind] : {std::pair("null", Kind::kNull), std::pair("true", Kind::kTrue),
                                     std::pair("false", Kind::kFalse)}) {
      tree.kind = kind;
      if (Take(word)) return true;
    }
    tree.kind = Kind::kNumber;
    const size_t end = std::min(rest_.find_first_not_of("+-.0123456789eE"), rest_.size());
    tree.text = std::string(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return end > 0;
  }

  bool List(JsonTree& tree, int depth) {
    tree.kind = JsonTree::Kind::kList;
    Take("[");
    Space();
    if (Take("]")) return true;
    do {
      if (!Value(tree.items.emplace_back(), depth + 1)) return false;
      Space();
    } while (Take(","));
    return Take("]");
  }

  bool Object(JsonTree& tree, int depth) {
    tree.kind = JsonTree::Kind::kObject;
    Take("{");
    Space();
    if (Take("}")) return true;
    do {
      Space();
      if (!String(tree.keys.emplace_back())) return false;
      Space();
      if (!Take(":") || !Value(tree.items.emplace_back(), depth + 1)) return false;
      Space();
    } while (Take(","));
    return Take("}");
  }

  // Escapes are left to protobuf.
  bool String(std::string& text) {
    if (rest_.empty() || rest_.front() != '"') return false;
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return false;
    const std::string_view quoted = rest_.substr(0, end + 1);
    rest_.remove_prefix(end + 1);
    if (quoted.find('\\') == quoted.npos) {
      text = std::string(quoted.substr(1, quoted.size() - 2));
      return true;
    }
    google::protobuf::Value value;
    if (!google::protobuf::util::JsonStringToMessage(std::string(quoted), &value).ok())
      return false;
    text = value.string_value();
    return true;
  }

  std::string_view rest_;
};

std::string JsonQuoted(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  std::string json;
  return google::protobuf::util::MessageToJsonString(value, &json).ok() ? json : "\"\"";
}

// Whether YAML reads the bare text as this very string.
bool IsBareInYaml(const std::string& text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ') return false;
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}) {
    if (absl::EqualsIgnoreCase(text, word)) return false;
  }
  double ignored = 0;
  if (absl::SimpleAtod(text, &ignored) || absl::ascii_isdigit(text.front())) return false;
  if (!absl::ascii_isalnum(text.front()) && text.front() != '/' && text.front() != '_')
    return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains(" _-./+@()", c);
  });
}

std::string YamlScalar(const JsonTree& tree) {
  if (tree.kind == JsonTree::Kind::kString && IsBareInYaml(tree.text)) return tree.text;
  return tree.ToJson();
}

void WriteYaml(const JsonTree& tree, const std::string& indent, std::string& out) {
  for (size_t i = 0; i < tree.items.size(); ++i) {
    const JsonTree& item = tree.items[i];
    const bool in_list = tree.kind == JsonTree::Kind::kList;
    JsonTree key{.kind = JsonTree::Kind::kString, .text = in_list ? "" : tree.keys[i]};
    const std::string begin =
        in_list ? absl::StrCat(indent, "-") : absl::StrCat(indent, YamlScalar(key), ":");
    if (item.items.empty()) {
      absl::StrAppend(&out, begin, " ", YamlScalar(item), "\n");
      continue;
    }
    std::string inner;
    WriteYaml(item, indent + "  ", inner);
    if (in_list) {
      // The first member goes on the same line as the dash.
      absl::StrAppend(&out, begin, " ", inner.substr(indent.size() + 2));
    } else {
      absl::StrAppend(&out, begin, "\n", inner);
    }
  }
}

}  // namespace

const JsonTree* JsonTree::Find(std::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[found - keys.begin()];
}

std::string JsonTree::Plain() const { return kind == Kind::kString ? text : ToJson(); }

std::string JsonTree::ToJson() const {
  std::string out;
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kTrue:
      return "true";
    case Kind::kFalse:
      return "false";
    case Kind::kNumber:
      return text;
    case Kind::kString:
      return JsonQuoted(text);
    case Kind::kList:
      for (const JsonTree& item : items)
        absl::StrAppend(&out, out.empty() ? "" : ",", item.ToJson());
      return absl::StrCat("[", out, "]");
    case Kind::kObject:
      for (size_t i = 0; i < items.size(); ++i)
        absl::StrAppend(&out, i > 0 ? "," : "", JsonQuoted(keys[i]), ":", items[i].ToJson());
      return absl::StrCat("{", out, "}");
  }
  return out;
}

std::string JsonTree::ToYaml() const {
  if (items.empty()) return absl::StrCat(YamlScalar(*this), "\n");
  std::string out;
  WriteYaml(*this, "", out);
  return out;
}

absl::StatusOr<JsonTree> ParseJsonTree(std::string_view json) {
  JsonTree tree;
  if (!Parser(json).ParseAll(tree)) return absl::InvalidArgumentError("this is no JSON");
  return tree;
}

}  // namespace finetune::cli
