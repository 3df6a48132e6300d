#include "server/jobs/tracking/likeness.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "server/base/time_proto.h"
#include "server/base/url.h"

namespace finetune {
namespace {

// How much each observation speaks for the job being the submission's, in points.
constexpr int kWholeMarker = 6;
constexpr int kPartOfMarker = 3;
constexpr int kSamePrompt = 4;
constexpr int kSameData = 3;
constexpr int kNoData = 2;  // Not shown: nothing speaks against it either.
constexpr int kSameName = 2;
constexpr int kSameTime = 2;
constexpr int kSameModel = 1;
constexpr int kSameTrigger = 1;
// With fewer points it might be any job.
constexpr int kLeast = 3;

// The created time that a job shows lies this close to its submission.
constexpr absl::Duration kEarlier = absl::Seconds(90);
constexpr absl::Duration kLater = absl::Minutes(15);

// Shorter texts occur in others by chance.
constexpr size_t kLeastName = 6;
constexpr size_t kLeastText = 12;

enum class Match { kUnknown, kSame, kOther };

// The text without what Segmind may change on its way.
std::string Plain(std::string_view text) {
  std::string plain(text);
  absl::AsciiStrToLower(&plain);
  absl::RemoveExtraAsciiWhitespace(&plain);
  return plain;
}

// The text as a page would show it if it were HTML.
std::string Unescaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&lt;", "<"},
                                    {"&gt;", ">"},
                                    {"&quot;", "\""},
                                    {"&#34;", "\""},
                                    {"&#39;", "'"},
                                    {"&#x27;", "'"},
                                    {"&apos;", "'"},
                                    {"&amp;", "&"}});
}

// Whether the texts are the same in their letters, if emoji, accents or quotes were lost on the
// way. Too few letters tell nothing.
bool IsSameInLetters(const std::string& a, const std::string& b) {
  const std::string letters = Folded(a);
  return letters.size() >= kLeastText && letters == Folded(b);
}

Match MatchText(const std::string& shown, const std::string& wanted) {
  if (shown.empty() || wanted.empty()) return Match::kUnknown;
  const std::string a = Plain(Unescaped(shown));
  const std::string b = Plain(Unescaped(wanted));
  if (a == b) return Match::kSame;
  if (IsSameInLetters(a, b)) return Match::kUnknown;
  // If one is cut short or has something added before or after, that speaks neither for nor
  // against.
  const bool part = std::min(a.size(), b.size()) >= kLeastText &&
                    (absl::StrContains(a, b) || absl::StrContains(b, a));
  return part ? Match::kUnknown : Match::kOther;
}

Match MatchWord(const std::string& shown, const std::string& wanted) {
  const std::string a = Folded(shown);
  const std::string b = Folded(wanted);
  if (a.empty() || b.empty()) return Match::kUnknown;
  return a == b ? Match::kSame : Match::kOther;
}

// Compared loosely: signatures come and go, encoders differ in what they percent-encode, and
// Segmind may keep a copy of its own under the same file name.
Match MatchUrl(const std::string& shown, const std::string& wanted) {
  if (shown.empty() || wanted.empty()) return Match::kUnknown;
  const auto bare = [](std::string_view url) {
    return PercentDecoded(url.substr(0, url.find_first_of("?#")));
  };
  const std::string a = bare(shown);
  const std::string b = bare(wanted);
  if (absl::EqualsIgnoreCase(a, b)) return Match::kSame;
  const auto file = [](const std::string& url) { return url.substr(url.rfind('/') + 1); };
  return file(a) == file(b) && !file(a).empty() ? Match::kUnknown : Match::kOther;
}

// Names may be cut or have things appended.
bool IsSameName(const UpstreamJob& job, const std::string& wanted) {
  if (!job.name) return false;
  const std::string shown = StripMarker(*job.name).display_name;
  if (shown == wanted) return true;
  const std::string a = Folded(shown);
  const std::string b = Folded(wanted);
  if (b.empty() || a.empty()) return false;
  return a.starts_with(b) || (a.size() >= kLeastName && b.starts_with(a));
}

Match MatchTime(const record::Intent& intent, const UpstreamJob& job) {
  if (!job.created || !intent.has_upstream_time()) return Match::kUnknown;
  const absl::Duration after = *job.created - FromProto(intent.upstream_time());
  return after >= -kEarlier && after <= kLater ? Match::kSame : Match::kOther;
}

}  // namespace

Likeness LikenessOf(const record::Intent& intent, const UpstreamJob& job, bool details_read) {
  const pb::FineTune& wanted = intent.fine_tune();
  const pb::FineTune& shown = job.fields;
  Likeness result;
  const auto weigh = [&result](Match match, int points) {
    if (match == Match::kSame) result.score += points;
    if (match == Match::kOther) result.contradicted = true;
    return match;
  };
  result.marker = job.name ? TraceOf(intent.marker(), *job.name) : MarkerTrace::kNone;
  if (result.marker == MarkerTrace::kWhole) result.score += kWholeMarker;
  if (result.marker == MarkerTrace::kPart) result.score += kPartOfMarker;
  if (IsSameName(job, wanted.display_name())) result.score += kSameName;
  const Match prompt =
      weigh(MatchText(shown.instance_prompt(), wanted.instance_prompt()), kSamePrompt);
  const Match data = weigh(MatchUrl(shown.data_source_uri(), wanted.data_source_uri()), kSameData);
  const Match model = weigh(MatchWord(shown.base_model(), wanted.base_model()), kSameModel);
  const Match trigger = weigh(MatchWord(shown.trigger_word(), wanted.trigger_word()), kSameTrigger);
  const bool contradicted_by_words = result.contradicted;
  weigh(MatchTime(intent, job), kSameTime);
  if (shown.data_source_uri().empty()) result.score += kNoData;
  result.same_prompt = prompt == Match::kSame;
  result.same_data = data == Match::kSame;

  const bool marked = result.marker == MarkerTrace::kWhole || result.marker == MarkerTrace::kPart;
  const bool asks_for_another =
      prompt == Match::kOther || model == Match::kOther || trigger == Match::kOther;
  // Time alone excludes nothing: clocks may be wrong, and time zones may be left out.
  result.none = result.marker == MarkerTrace::kOther || (!marked && asks_for_another) ||
                result.score < kLeast;
  const bool enough =
      result.marker == MarkerTrace::kWhole || (result.same_prompt && result.same_data);
  const bool all_else = details_read && !result.none && !contradicted_by_words && enough;
  result.clear = all_else && !result.contradicted;
  result.clear_but_for_time = all_else && result.contradicted;
  return result;
}

}  // namespace finetune
