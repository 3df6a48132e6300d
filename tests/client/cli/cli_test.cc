#include "client/cli/cli.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_split.h"
#include "client/cli/text.h"
#include "server/base/error_details.h"
#include "server/base/uuid.h"
#include "tests/client/fake_service.h"
#include "tests/client/fake_storage.h"
#include "tests/client/images.h"
#include "tests/client/weights.h"
#include "tests/dataset/zip_samples.h"

namespace finetune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

class Cli : public testing::Test {
 protected:
  Cli() {
    folder_ = std::filesystem::temp_directory_path() / ("cli_test." + MakeUuid());
    std::filesystem::create_directory(folder_);
  }
  ~Cli() override { std::filesystem::remove_all(folder_); }

  Result Run(std::vector<std::string> args, const cli::Terminal& terminal = {}) {
    args.push_back("--server");
    args.push_back(service_.target());
    std::ostringstream out, err;
    Result result;
    result.code = cli::RunCli(args, out, err, terminal);
    result.out = out.str();
    result.err = err.str();
    return result;
  }
  std::string Path(const std::string& name) const { return folder_ / name; }

  FakeService service_;
  std::filesystem::path folder_;
};

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

TEST_F(Cli, GetTakesANameWithAndWithoutThePrefix) {
  service_.Put("a", pb::FineTune::TRAINING);
  EXPECT_THAT(Run({"get", "a"}).out,
              AllOf(HasSubstr("fineTunes/a"), HasSubstr("TRAINING"), Not(HasSubstr("\033"))));
  const Result json = Run({"get", "fineTunes/a", "--output", "json"});
  pb::FineTune job;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json.out, &job).ok()) << json.out;
  EXPECT_EQ(job.state(), pb::FineTune::TRAINING);
  EXPECT_THAT(json.out, HasSubstr("\"displayName\""));
}

TEST_F(Cli, ColoursAreForTerminalsOnly) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  EXPECT_THAT(Run({"list"}, {.out = true}).out, HasSubstr("\033[32mAVAILABLE"));
  EXPECT_THAT(Run({"list", "--no-color"}, {.out = true}).out, Not(HasSubstr("\033")));
}

TEST_F(Cli, ListAlignsItsColumnsAndPagesThroughAll) {
  for (int i = 0; i < 7; ++i) service_.Put("job" + std::to_string(i), pb::FineTune::QUEUED);
  const Result page = Run({"list", "--page-size", "3"});
  const auto lines = Lines(page.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_THAT(lines[0], StartsWith("NAME "));
  EXPECT_EQ(lines[0].find("STATE"), lines[1].find("QUEUED"));
  EXPECT_THAT(page.err, HasSubstr("3 of 7 jobs"));
  EXPECT_EQ(Lines(Run({"list", "--all", "--page-size", "3", "--output", "json"}).out).size(), 7u);
  EXPECT_EQ(Lines(Run({"list", "--limit", "5", "--page-size", "2", "--output", "json"}).out).size(),
            5u);
}

TEST_F(Cli, CreateSendsEveryFlagAndPrintsItsRequestId) {
  const Result result = Run({"create",
                             "--name",
                             "dogs",
                             "--data",
                             "https://x/d.zip",
                             "--prompt",
                             "a photo of TOK dog",
                             "--trigger",
                             "TOK",
                             "--base-model",
                             "FAST_FLUX",
                             "--theme",
                             "subject",
                             "--train-type",
                             "LORA",
                             "--machine-type",
                             "NVIDIA_H100",
                             "--steps",
                             "500",
                             "--learning-rate",
                             "0.0004",
                             "--no-face-crop",
                             "--finetune-type",
                             "LORA",
                             "--param",
                             "lora_rank=16",
                             "--param",
                             "auto_caption=true",
                             "--label",
                             "team=art",
                             "--label",
                             "x=",
                             "--public"});
  EXPECT_EQ(result.code, 0) << result.err;
  const auto create = service_.creates().at(0);
  EXPECT_THAT(result.err, HasSubstr("request_id: " + create.request_id()));
  const pb::FineTune& job = create.fine_tune();
  EXPECT_EQ(job.display_name(), "dogs");
  EXPECT_EQ(job.machine_type(), "NVIDIA_H100");
  EXPECT_EQ(job.parameters().steps(), 500);
  EXPECT_EQ(job.parameters().learning_rate(), 0.0004);
  EXPECT_TRUE(job.parameters().has_face_crop());
  EXPECT_FALSE(job.parameters().face_crop());
  EXPECT_EQ(job.parameters().extra().fields().at("lora_rank").number_value(), 16);
  EXPECT_TRUE(job.parameters().extra().fields().at("auto_caption").bool_value());
  EXPECT_EQ(job.labels().at("team"), "art");
  EXPECT_EQ(job.labels().at("x"), "");
  EXPECT_EQ(job.visibility(), pb::FineTune::PUBLIC);
}

TEST_F(Cli, CreateTakesAFileAndFlagsWinOverIt) {
  std::ofstream(Path("job.json"))
      << R"({"displayName": "file", "theme": "subject", "parameters": {"steps": 5}})";
  EXPECT_EQ(Run({"create", "--file", Path("job.json"), "--name", "flag"}).code, 0);
  const auto create = service_.creates().at(0);
  EXPECT_EQ(create.fine_tune().display_name(), "flag");
  EXPECT_EQ(create.fine_tune().theme(), "subject");
  EXPECT_EQ(create.fine_tune().parameters().steps(), 5);
  EXPECT_FALSE(create.fine_tune().parameters().has_face_crop());
  std::ofstream(Path("bad.json")) << R"({"displayname": "x"})";
  const Result bad = Run({"create", "--file", Path("bad.json")});
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.err, HasSubstr("bad.json"));
}

TEST_F(Cli, CreateZipsAndSendsAFolderOfImages) {
  std::filesystem::create_directories(Path("dogs/sub"));
  std::ofstream(Path("dogs/b.JPG")) << Jpeg("the second image");
  std::ofstream(Path("dogs/a.png")) << Png("the first image");
  std::ofstream(Path("dogs/a.txt")) << "its caption";
  std::ofstream(Path("dogs/notes.txt")) << "notes";
  const Result result =
      Run({"create", "--name", "dogs", "--base-model", "FAST_FLUX", "--dataset", Path("dogs")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("2 images, 1 text beside them"),
                                HasSubstr("notes.txt is left out"), HasSubstr("sub is left out")));
  EXPECT_EQ(service_.creates().back().fine_tune().data_source_uri(), "https://storage/dogs.zip");
  EXPECT_THAT(service_.uploaded(), AllOf(StartsWith("PK\3\4"), HasSubstr("the first image")));
}

TEST_F(Cli, CreateChecksAllThatCanBeKnownBeforeItSendsAByte) {
  std::filesystem::create_directories(Path("dogs"));
  std::ofstream(Path("dogs/a.png")) << Png();
  rpc::BadRequest bad;
  bad.add_field_violations()->set_field("fine_tune.base_model");
  service_.FailCalls(FakeError(grpc::StatusCode::INVALID_ARGUMENT, "no such model",
                               pb::ErrorReason::INVALID_FIELD, {&bad}));
  EXPECT_EQ(Run({"create", "--name", "dogs", "--dataset", Path("dogs")}).code, 2);
  EXPECT_EQ(service_.uploaded(), "");
  service_.FailCalls(grpc::Status::OK);
  const Result valid =
      Run({"create", "--name", "dogs", "--dataset", Path("dogs"), "--validate-only"});
  EXPECT_EQ(valid.code, 0) << valid.err;
  EXPECT_THAT(valid.out, HasSubstr("dogs"));
  EXPECT_THAT(valid.out, Not(HasSubstr("STATE_UNSPECIFIED")));
  EXPECT_EQ(service_.uploaded(), "");
  for (const auto& create : service_.creates()) EXPECT_TRUE(create.validate_only());
  // An older gateway, which misses the address.
  bad.mutable_field_violations(0)->set_field("fine_tune.data_source_uri");
  service_.FailCalls(FakeError(grpc::StatusCode::INVALID_ARGUMENT, "no data",
                               pb::ErrorReason::INVALID_FIELD, {&bad}),
                     1);
  EXPECT_EQ(Run({"create", "--name", "dogs", "--dataset", Path("dogs")}).code, 0);
  EXPECT_NE(service_.uploaded(), "");
}

TEST_F(Cli, WhatCannotBeTrainedWithStopsBeforeItCostsMoney) {
  std::filesystem::create_directories(Path("dogs/sub"));
  std::ofstream(Path("dogs/sub/a.png")) << Png();
  std::ofstream(Path("d.zip")) << "a text";
  for (const std::string& data : {Path("dogs"), Path("d.zip")}) {
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"upload", data}, {"create", "--dataset", data}}) {
      const Result result = Run(command);
      EXPECT_EQ(result.code, 2);
      EXPECT_THAT(result.err, HasSubstr("--force"));
    }
  }
  EXPECT_EQ(service_.uploaded(), "");
  EXPECT_TRUE(service_.creates().empty());
  EXPECT_EQ(Run({"create", "--dataset", Path("d.zip"), "--force"}).code, 0);
  EXPECT_EQ(service_.uploaded(), "a text");
}

TEST_F(Cli, ATriggerWordThatIsNotInThePromptIsPointedOut) {
  const auto warned = [&](const char* prompt) {
    return Run({"create", "--trigger", "TOK", "--prompt", prompt}).err.find("warning") !=
           std::string::npos;
  };
  EXPECT_TRUE(warned("a photo of a dog"));
  EXPECT_FALSE(warned("a photo of TOK dog"));
}

TEST_F(Cli, CreateSurvivesALostAnswer) {
  service_.LoseAnswers(3);
  EXPECT_EQ(Run({"create", "--name", "x"}).code, 0);
  EXPECT_GE(service_.creates().size(), 4u);
}

TEST_F(Cli, CreateSaysHowToGoOnWhenTheGatewayIsAway) {
  service_.FailCalls({grpc::StatusCode::UNAVAILABLE, "away"});
  const Result result = Run({"create", "--name", "x", "--timeout", "1s", "--request-id", "abc"});
  EXPECT_EQ(result.code, 6);
  EXPECT_THAT(result.err, HasSubstr("--request-id abc"));
}

TEST_F(Cli, CreateWaits) {
  std::thread segmind([&] {
    service_.AwaitStreams(1);
    service_.Put("new1", pb::FineTune::TRAINING);
    service_.Put("new1", pb::FineTune::TRAINED);
  });
  const Result result = Run({"create", "--name", "x", "--wait=TRAINED"});
  segmind.join();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("TRAINED"));
  EXPECT_THAT(result.err, AllOf(HasSubstr("TRAINING"), Not(HasSubstr("\r"))));
}

TEST_F(Cli, WaitTellsByItsExitCodeHowTheJobEnded) {
  service_.Put("good", pb::FineTune::AVAILABLE);
  service_.Put("bad", pb::FineTune::FAILED);
  service_.Put("slow", pb::FineTune::TRAINING);
  EXPECT_EQ(Run({"wait", "good"}).code, 0);
  EXPECT_EQ(Run({"wait", "good", "--until", "trained"}).code, 0);
  EXPECT_EQ(Run({"wait", "bad"}).code, 1);
  EXPECT_EQ(Run({"wait", "bad", "--until", "FAILED"}).code, 0);
  EXPECT_EQ(Run({"wait", "none"}).code, 3);
  const Result slow = Run({"wait", "slow", "--timeout", "100ms"});
  EXPECT_EQ(slow.code, 6);
  EXPECT_THAT(slow.err, HasSubstr("TRAINING"));
}

TEST_F(Cli, WaitShowsProgressOnATerminal) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  const Result result = Run({"wait", "a"}, {.out = true, .err = true});
  EXPECT_THAT(result.err, AllOf(HasSubstr("\r"), Not(HasSubstr("\033"))));
}

TEST_F(Cli, WatchPrintsOneResponseALineUntilTheStateIsReached) {
  service_.Put("a", pb::FineTune::QUEUED);
  std::thread segmind([&] {
    service_.AwaitStreams(1);
    service_.Put("a", pb::FineTune::TRAINING);
    service_.Put("a", pb::FineTune::AVAILABLE);
  });
  const Result result = Run({"watch", "a", "--until", "AVAILABLE", "--output", "json"});
  segmind.join();
  EXPECT_EQ(result.code, 0) << result.err;
  const auto lines = Lines(result.out);
  ASSERT_GE(lines.size(), 3u);
  for (const std::string& line : lines) {
    pb::WatchFineTunesResponse response;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(line, &response).ok()) << line;
  }
  EXPECT_THAT(lines.back(), HasSubstr("\"AVAILABLE\""));
}

TEST_F(Cli, WatchGoesOnFromItsTokenFile) {
  service_.Put("a", pb::FineTune::QUEUED);
  service_.Put("b", pb::FineTune::AVAILABLE);
  EXPECT_EQ(Run({"watch", "b", "--until", "AVAILABLE", "--resume-token", Path("place")}).code, 0);
  // Met by the snapshot already: no place is known yet.
  EXPECT_FALSE(std::filesystem::exists(Path("place")));
  std::thread segmind([&] {
    service_.AwaitStreams(2);
    service_.Put("a", pb::FineTune::AVAILABLE);
  });
  EXPECT_EQ(Run({"watch", "--until", "AVAILABLE", "--resume-token", Path("place")}).code, 0);
  segmind.join();
  EXPECT_TRUE(std::filesystem::exists(Path("place")));
  std::thread later([&] {
    service_.AwaitStreams(3);
    service_.Put("a", pb::FineTune::FAILED);
  });
  service_.Put("a", pb::FineTune::TRAINING);
  const Result resumed =
      Run({"watch", "a", "--until", "AVAILABLE", "--resume-token", Path("place")});
  later.join();
  EXPECT_EQ(resumed.code, 1);
  EXPECT_THAT(resumed.out, AllOf(HasSubstr("FAILED"), Not(HasSubstr("SNAPSHOT"))));
}

TEST_F(Cli, UpdateNamesWhatItChanges) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  EXPECT_EQ(
      Run({"update", "a", "--private", "--label", "k=v", "--remove-label", "old", "--etag", "e1"})
          .code,
      0);
  const auto update = service_.updates().at(0);
  EXPECT_EQ(update.fine_tune().name(), "fineTunes/a");
  EXPECT_EQ(update.fine_tune().visibility(), pb::FineTune::PRIVATE);
  EXPECT_EQ(update.fine_tune().etag(), "e1");
  EXPECT_THAT(update.update_mask().paths(),
              testing::ElementsAre("visibility", "labels.k", "labels.old"));
  EXPECT_EQ(update.fine_tune().labels().count("old"), 0u);
  EXPECT_EQ(Run({"update", "a"}).code, 2);
  EXPECT_EQ(Run({"update", "a", "--public", "--private"}).code, 2);
}

TEST_F(Cli, DownloadAndUploadGoThroughTheGateway) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  service_.SetWeights(Safetensors(10), "g", 1000);
  const Result download = Run({"download", "a", Path("w.safetensors")});
  EXPECT_EQ(download.code, 0) << download.err;
  EXPECT_THAT(download.out,
              HasSubstr("4a9d1e7048969ac70453aad7f221d38d359f2886b874fcafaeb190208f135361"));
  std::ofstream(Path("d.zip")) << MakeZip({{"a.jpg", Jpeg()}});
  const Result upload = Run({"upload", Path("d.zip"), "--public"});
  EXPECT_THAT(upload.out, HasSubstr("https://storage/d.zip"));
  EXPECT_THAT(upload.err, HasSubstr("warning: 1 sub-folder"));
}

TEST_F(Cli, DownloadsFromTheStorageWhenTheGatewayMovesNoBytes) {
  const std::string weights = Safetensors(50'000);
  FakeStorage storage(weights, "\"v1\"");
  storage.BreakAfter(20'000);
  service_.HaveNoTransfers();
  service_.PutWeightsUri("a", storage.url());
  const Result result = Run({"download", "a", Path("w"), "--output", "json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(absl::StrCat("\"sizeBytes\":\"", weights.size(), "\"")));
  std::stringstream content;
  content << std::ifstream(Path("w")).rdbuf();
  EXPECT_EQ(content.str(), weights);
  EXPECT_GE(storage.requests().size(), 3u);

  storage.Answer(403);
  const Result refused = Run({"download", "a", Path("v")});
  EXPECT_EQ(refused.code, 7);
  EXPECT_EQ(refused.err, "finetune: the storage answered HTTP 403 (PERMISSION_DENIED).\n");
  EXPECT_FALSE(std::filesystem::exists(Path("v")));
  EXPECT_FALSE(std::filesystem::exists(Path("v.part")));
}

TEST_F(Cli, APageInPlaceOfWeightsLeavesTheOldFile) {
  std::ofstream(Path("w")) << "a good file";
  FakeStorage storage("<!DOCTYPE html><html>Sign in</html>", "\"v1\"");
  service_.PutWeightsUri("a", storage.url());
  service_.SetWeights("<!DOCTYPE html><html>Sign in</html>", "g", 1000);
  for (const bool direct : {false, true}) {
    if (direct) service_.HaveNoTransfers();
    const Result result = Run({"download", "a", Path("w")});
    EXPECT_EQ(result.code, 8);
    EXPECT_THAT(result.err, AllOf(HasSubstr("what came is a web page"), HasSubstr("as it was")));
    std::stringstream content;
    content << std::ifstream(Path("w")).rdbuf();
    EXPECT_EQ(content.str(), "a good file");
    EXPECT_FALSE(std::filesystem::exists(Path("w.part")));
  }
  EXPECT_EQ(Run({"download", "a", Path("w"), "--any-content"}).code, 0);
}

TEST_F(Cli, ALocalDiskIsNotTakenForTheGatewayOrTheStorage) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  service_.SetWeights(Safetensors(10), "g", 1000);
  std::filesystem::create_directories(Path("w.part"));
  const Result result = Run({"download", "a", Path("w")});
  EXPECT_EQ(result.code, 9);
  EXPECT_THAT(result.err,
              MatchesRegex("finetune: cannot write .*w.part: Is a directory .EISDIR.\\.\n"));
}

TEST_F(Cli, UploadsToTheStorageWhenTheGatewayMovesNoBytes) {
  FakeStorage storage("", "");
  service_.HaveNoTransfers();
  service_.SetUploadUri(storage.url() + "?X-Amz-Signature=secret");
  const std::string zip = MakeZip({{"a.jpg", Jpeg()}});
  std::ofstream(Path("d.zip")) << zip;
  const Result result = Run({"upload", Path("d.zip")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("https://storage/get/d.zip"));
  const std::string request = storage.requests().at(0);
  EXPECT_THAT(request, AllOf(HasSubstr("Content-Type: application/zip\r\n"),
                             HasSubstr(absl::StrCat("Content-Length: ", zip.size(), "\r\n")),
                             testing::EndsWith("\r\n\r\n" + zip), Not(HasSubstr("Expect"))));
  storage.Answer(403);
  const Result refused = Run({"upload", Path("d.zip")});
  EXPECT_EQ(refused.code, 7);
  EXPECT_THAT(refused.err, Not(HasSubstr("secret")));
}

TEST_F(Cli, EveryKindOfFailureHasItsExitCodeAndOneSentence) {
  const std::vector<std::pair<grpc::StatusCode, int>> codes = {
      {grpc::StatusCode::INVALID_ARGUMENT, 2},
      {grpc::StatusCode::NOT_FOUND, 3},
      {grpc::StatusCode::FAILED_PRECONDITION, 4},
      {grpc::StatusCode::ABORTED, 4},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, 5},
      {grpc::StatusCode::DEADLINE_EXCEEDED, 6},
      {grpc::StatusCode::PERMISSION_DENIED, 7},
      {grpc::StatusCode::UNAUTHENTICATED, 7},
      {grpc::StatusCode::INTERNAL, 8},
      {grpc::StatusCode::DATA_LOSS, 8},
  };
  rpc::BadRequest bad;
  bad.add_field_violations()->set_field("fine_tune.theme");
  bad.mutable_field_violations(0)->set_description("is not known");
  for (const auto& [code, exit_code] : codes) {
    service_.FailCalls(FakeError(code, "this went wrong.", pb::ErrorReason::INVALID_FIELD, {&bad}));
    const Result result = Run({"get", "a"});
    EXPECT_EQ(result.code, exit_code);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(
        result.err,
        StartsWith("finetune: this went wrong (INVALID_FIELD).\n  --theme: is not known\n"));
  }
}

TEST_F(Cli, WrongUsageIsToldBeforeAnyCall) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"frobnicate"},
                                             {"get"},
                                             {"list", "--page-size", "0"},
                                             {"wait", "a", "--until", "HAPPY"},
                                             {"wait", "a", "--timeout", "soon"},
                                             {"create", "--label", "novalue"},
                                             {"list", "--output", "xml"},
                                             {"get", "a", "--tls-cert", "/nonexistent"}}) {
    const Result result = Run(args);
    EXPECT_EQ(result.code, 2) << args[0];
    EXPECT_NE(result.err, "");
  }
  EXPECT_THAT(Run({"frobnicate"}).err, HasSubstr("no command `frobnicate`"));
  EXPECT_THAT(Run({}).err, HasSubstr("A subcommand is required"));
  EXPECT_THAT(Run({"lst"}).err, HasSubstr("Did you mean `list`?"));
  EXPECT_THAT(Run({"list", "--fliter", "x"}).err, HasSubstr("Did you mean `--filter`?"));
  EXPECT_THAT(Run({"status", "more"}).err, HasSubstr("one argument too many"));
}

TEST_F(Cli, CommandsAreNamedAsTheyAreTyped) {
  EXPECT_THAT(Run({"--help"}).out, HasSubstr("Usage: finetune [OPTIONS] SUBCOMMAND"));
  EXPECT_THAT(Run({"list", "--help"}).out, HasSubstr("Usage: finetune list [OPTIONS]"));
  EXPECT_THAT(Run({"help", "config", "set-context"}).out,
              HasSubstr("Usage: finetune config set-context [OPTIONS]"));
  EXPECT_THAT(Run({"list", "--no-such"}).err, HasSubstr("Run `finetune list --help`"));
  EXPECT_THAT(Run({"config", "set-context"}).err,
              HasSubstr("Run `finetune config set-context --help`"));
  EXPECT_THAT(Run({"frobnicate"}).err, HasSubstr("Run `finetune --help`"));
}

TEST_F(Cli, OutputThatIsLostIsAFailure) {
  service_.Put("a", pb::FineTune::TRAINING);
  std::ofstream full("/dev/full");
  std::ostringstream err;
  EXPECT_EQ(cli::RunCli({"list", "--server", service_.target()}, full, err, {}), 9);
  EXPECT_THAT(err.str(), HasSubstr("could not be written"));
  EXPECT_EQ(cli::RunCli({"--help"}, full, err, {}), 9);
}

TEST_F(Cli, AnAddressThatIsNoneIsToldAtOnce) {
  for (const char* address : {"", "http://127.0.0.1:1", "127.0.0.1:99999", "[::1]:0"}) {
    std::ostringstream out, err;
    EXPECT_EQ(cli::RunCli({"list", "--server", address}, out, err, {}), 2) << address;
  }
}

TEST_F(Cli, HelpHasExamplesAtEveryLevel) {
  const Result top = Run({"--help"});
  EXPECT_EQ(top.code, 0);
  EXPECT_THAT(top.out, AllOf(HasSubstr("Exit codes"), HasSubstr("Examples")));
  for (const char* command : {"create", "get", "list", "watch", "wait", "update", "upload-url",
                              "upload", "download", "status", "spend", "completion"}) {
    EXPECT_THAT(top.out, HasSubstr(command));
    const Result help = Run({command, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples")) << command;
  }
}

TEST_F(Cli, CompletionKnowsTheCommandsAndTheirOptions) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Result result = Run({"completion", shell});
    EXPECT_THAT(result.out,
                AllOf(HasSubstr("max-staleness"), HasSubstr("upload-url"), HasSubstr("tls-ca"),
                      HasSubstr("FAST_FLUX"), HasSubstr("SUBMIT_UNKNOWN"),
                      HasSubstr("get-contexts set-context use-context")));
  }
}

TEST_F(Cli, EveryCommandsHelpShowsTheOptionsOfAll) {
  for (const char* command : {"list", "get", "config"}) {
    EXPECT_THAT(Run({command, "--help"}).out, AllOf(HasSubstr("--server"), HasSubstr("--output")));
    EXPECT_EQ(Run({"help", command}).out, Run({command, "--help"}).out);
  }
  EXPECT_THAT(Run({"version"}).out, StartsWith("finetune "));
  EXPECT_THAT(Run({"help"}).out, HasSubstr("create"));
}

TEST_F(Cli, AJobIsCalledByItsIdItsBeginningOrItsDisplayName) {
  service_.Put("abc-1", pb::FineTune::TRAINING);
  service_.Put("abd-2", pb::FineTune::AVAILABLE);
  for (const char* name : {"abd-2", "fineTunes/abd-2", "abd", "job abd-2"})
    EXPECT_THAT(Run({"get", name, "-o", "name"}).out, "fineTunes/abd-2\n") << name;
  const Result several = Run({"get", "ab"});
  EXPECT_EQ(several.code, 2);
  EXPECT_THAT(several.err, AllOf(HasSubstr("may mean 2 jobs"), HasSubstr("abc-1")));
  const Result none = Run({"get", "xyz"});
  EXPECT_EQ(none.code, 3);
  EXPECT_THAT(none.err, HasSubstr("no job is called `xyz`"));
  EXPECT_EQ(Run({"wait", "abd"}).code, 0);
  EXPECT_EQ(Run({"update", "job abd-2", "--public"}).code, 0);
  EXPECT_EQ(service_.updates().at(0).fine_tune().name(), "fineTunes/abd-2");
}

TEST_F(Cli, SeveralJobsAreGotAtOnce) {
  service_.Put("a", pb::FineTune::TRAINING);
  service_.Put("b", pb::FineTune::AVAILABLE);
  EXPECT_THAT(
      Lines(Run({"get", "a", "b"}).out),
      testing::ElementsAre(StartsWith("NAME"), HasSubstr("TRAINING"), HasSubstr("AVAILABLE")));
  const Result some = Run({"get", "a", "none", "b", "-o", "name"});
  EXPECT_EQ(some.code, 3);
  EXPECT_EQ(some.out, "fineTunes/a\nfineTunes/b\n");
}

TEST_F(Cli, APathToAFieldThatThereIsNotIsWarnedOf) {
  service_.Put("a", pb::FineTune::TRAINING, "FLUX");
  service_.Put("b", pb::FineTune::TRAINING, "FLUX");
  const Result typo = Run({"list", "-o", "jsonpath={.name} {.baseModle}"});
  EXPECT_EQ(typo.out, "fineTunes/a \nfineTunes/b \n");
  EXPECT_EQ(typo.err, "finetune: no FineTune has a field `baseModle`; did you mean `baseModel`?\n");
  EXPECT_THAT(Run({"get", "a", "-o", "jsonpath={.failure.zzzzzz}"}).err,
              HasSubstr("no Failure has a field `zzzzzz`; they are "));
  for (const char* known : {"jsonpath={.parameters.steps}", "jsonpath={.labels.any}{.createTime}",
                            "template={{range .transitions}}{{.state}}{{end}}{{.endTime}}"})
    EXPECT_EQ(Run({"get", "a", "-o", known}).err, "") << known;
}

TEST_F(Cli, OutputIsWhatProgramsWant) {
  service_.Put("a", pb::FineTune::TRAINING, "FLUX");
  service_.Put("b", pb::FineTune::AVAILABLE, "FLUX");
  EXPECT_EQ(Run({"list", "-o", "name"}).out, "fineTunes/a\nfineTunes/b\n");
  EXPECT_EQ(Run({"list", "-o", "jsonpath={.name} {.state}"}).out,
            "fineTunes/a TRAINING\nfineTunes/b AVAILABLE\n");
  EXPECT_EQ(Run({"get", "a", "-o", "template={{.baseModel}}!"}).out, "FLUX!\n");
  const std::string yaml = Run({"get", "a", "-o", "yaml"}).out;
  EXPECT_THAT(yaml, AllOf(HasSubstr("name: fineTunes/a\n"), HasSubstr("state: TRAINING\n")));
  EXPECT_THAT(Run({"list", "-o", "yaml"}).out, HasSubstr("\n---\n"));
  EXPECT_THAT(Run({"list", "-o", "wide"}).out, HasSubstr("LABELS"));
}

TEST_F(Cli, AnEmptyListSaysSo) {
  const Result none = Run({"list"});
  EXPECT_EQ(none.out, "");
  EXPECT_EQ(none.err, "There are no jobs.\n");
  EXPECT_EQ(Run({"list", "-l", "team=art"}).err, "No jobs match.\n");
  EXPECT_EQ(Run({"list", "-o", "json"}).err, "");
}

TEST_F(Cli, LabelsAreAFilter) {
  Run({"list", "-l", "team=art,stage!=dev", "-l", "owner", "--filter", "state = TRAINING OR cats"});
  EXPECT_EQ(service_.last_filter(),
            "(state = TRAINING OR cats) AND labels.team = \"art\" AND labels.stage != \"dev\" "
            "AND labels.owner:*");
}

TEST_F(Cli, WhoAmIShowsTheCallerAndItsLimits) {
  EXPECT_THAT(Run({"whoami"}).out, HasSubstr("Nobody in particular"));
  service_.SetCaller("search", pb::CallerIdentity::SUBMITTER);
  EXPECT_THAT(Run({"whoami"}).out, AllOf(HasSubstr("search"), HasSubstr("SUBMITTER")));
}

TEST_F(Cli, WordsOfAFilterAndOfSegmindStayWhatTheyAre) {
  rpc::BadRequest bad;
  bad.add_field_violations()->set_field("filter");
  bad.mutable_field_violations(0)->set_description("there is no display_name2; use base_model");
  service_.FailCalls(
      FakeError(grpc::StatusCode::INVALID_ARGUMENT, "", pb::ErrorReason::INVALID_FIELD, {&bad}));
  EXPECT_THAT(Run({"list", "--filter", "x"}).err, HasSubstr("no display_name2; use base_model"));
  service_.FailCalls(FakeError(grpc::StatusCode::INVALID_ARGUMENT, "Segmind: Invalid base_model",
                               pb::ErrorReason::UPSTREAM_REJECTED, {}));
  EXPECT_THAT(Run({"list"}).err, HasSubstr("Segmind: Invalid base_model"));
}

TEST_F(Cli, ArgumentsThatAreNoTextAreToldInOneSentence) {
  const Result result = Run({"list", "--filter", "caf\xe9"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err, "finetune: argument 3 is not valid UTF-8: caf\\xe9.\n");
}

TEST_F(Cli, AJobThatFailedGetsTrueAdvice) {
  service_.Fail("a", pb::Failure::DATASET_INVALID, "no images found");
  service_.FailDownloads(FakeError(grpc::StatusCode::FAILED_PRECONDITION, "there are no weights",
                                   pb::ErrorReason::WEIGHTS_NOT_READY));
  const Result download = Run({"download", "a", Path("w")});
  EXPECT_EQ(download.code, 4);
  EXPECT_THAT(download.err, AllOf(HasSubstr("the job is FAILED: no images found"),
                                  HasSubstr("never"), Not(HasSubstr("Wait for them"))));
  EXPECT_THAT(Run({"describe", "a"}).out, AllOf(HasSubstr("next"), HasSubstr("no images found")));
  EXPECT_THAT(Run({"list"}).out, HasSubstr("no images found"));
  service_.Put("b", pb::FineTune::TRAINING);
  EXPECT_THAT(Run({"download", "b", Path("w")}).err, HasSubstr("finetune wait b --until TRAINED"));
}

TEST_F(Cli, HintsNameTheRightFlag) {
  service_.Put("slow", pb::FineTune::TRAINING);
  EXPECT_THAT(Run({"wait", "slow", "--timeout", "50ms"}).err, HasSubstr("with --timeout"));
  EXPECT_THAT(Run({"create", "--wait", "--wait-timeout", "50ms"}).err,
              HasSubstr("with --wait-timeout"));
}

TEST_F(Cli, TablesFitTheTerminal) {
  service_.Put("12345678-aaaa-bbbb-cccc-123456789012", pb::FineTune::TRAINING, "FAST_FLUX");
  service_.Fail("22345678-aaaa-bbbb-cccc-123456789012", pb::Failure::DATASET_INVALID,
                "the zip of training images has sub-folders, which nobody looks into");
  for (const int columns : {40, 80, 200}) {
    const Result list = Run({"list"}, {.out = true, .columns = columns, .coloured = false});
    for (const std::string& line : Lines(list.out))
      EXPECT_LE(cli::Width(line), static_cast<size_t>(columns)) << line;
    EXPECT_THAT(list.out, AllOf(HasSubstr("TRAINING"), StartsWith("NAME")));
  }
  EXPECT_THAT(Run({"list"}, {.out = true, .columns = 200}).out, HasSubstr("nobody looks into"));
  EXPECT_THAT(Run({"list"}).out, HasSubstr("12345678-aaaa-bbbb-cccc-123456789012"));
}

TEST_F(Cli, ContextsAreGatewaysByName) {
  setenv("FINETUNE_CONFIG", Path("config/config.json").c_str(), 1);
  const auto bare = [&](std::vector<std::string> args) {
    std::ostringstream out, err;
    Result result;
    result.code = cli::RunCli(args, out, err, {});
    result.out = out.str();
    result.err = err.str();
    return result;
  };
  service_.Put("a", pb::FineTune::TRAINING);
  EXPECT_EQ(bare({"config", "set-context", "prod", "--server", service_.target()}).code, 0);
  EXPECT_EQ(bare({"config", "set-context", "lab", "--server", "127.0.0.1:1"}).code, 0);
  EXPECT_EQ(bare({"config", "set-context", "none"}).code, 2);
  EXPECT_EQ(bare({"config", "current-context"}).out, "prod\n");
  EXPECT_THAT(bare({"list"}).out, HasSubstr("job a"));
  EXPECT_EQ(bare({"config", "use-context", "lab"}).code, 0);
  EXPECT_EQ(bare({"list"}).code, 6);
  EXPECT_THAT(bare({"list", "--context", "prod"}).out, HasSubstr("job a"));
  setenv("FINETUNE_SERVER", service_.target().c_str(), 1);
  EXPECT_THAT(bare({"list"}).out, HasSubstr("job a")) << "a variable wins";
  unsetenv("FINETUNE_SERVER");
  EXPECT_EQ(bare({"list", "--context", "nowhere"}).code, 2);
  EXPECT_EQ(bare({"config", "get-contexts", "-o", "name"}).out, "lab\nprod\n");
  EXPECT_EQ(bare({"config", "delete-context", "lab"}).code, 0);
  EXPECT_EQ(bare({"config", "delete-context", "lab"}).code, 3);
  std::ofstream(Path("config/config.json")) << "{broken";
  const Result broken = bare({"list"});
  EXPECT_EQ(broken.code, 2);
  EXPECT_THAT(broken.err, HasSubstr("config.json"));
  unsetenv("FINETUNE_CONFIG");
}

TEST_F(Cli, WatchLeavesOutWhatHappensToFinishedJobs) {
  service_.Put("done", pb::FineTune::AVAILABLE);
  service_.Put("busy", pb::FineTune::TRAINING);
  std::thread segmind([&] {
    service_.AwaitStreams(1);
    service_.Put("done", pb::FineTune::AVAILABLE, "RELABELLED");
    service_.Put("busy", pb::FineTune::AVAILABLE);
  });
  const Result result = Run({"watch", "--until", "AVAILABLE"});
  segmind.join();
  EXPECT_EQ(result.code, 0) << result.err;
  const auto lines = Lines(result.out);
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(),
                          [](const std::string& line) {
                            return line.find("job done") != std::string::npos &&
                                   line.find("UPDATED") != std::string::npos;
                          }),
            0)
      << result.out;
  EXPECT_THAT(result.out, AllOf(HasSubstr("SNAPSHOT"), HasSubstr("TIME (")));
}

TEST_F(Cli, SpendShowsRowsForPeopleAndForPrograms) {
  EXPECT_THAT(Run({"spend"}).out,
              AllOf(HasSubstr("CALLER"), HasSubstr("2.5 credits"), HasSubstr("UNPRICED")));
  const Result csv = Run({"spend", "--by", "label:cost-center", "--days", "--since", "2026-11-01",
                          "--zone", "Europe/Berlin", "-o", "csv"});
  EXPECT_EQ(csv.code, 0) << csv.err;
  EXPECT_EQ(
      csv.out,
      "period,label:cost-center,jobs,open,available,failed,cancelled,lost,unpriced,cost,"
      "failed_cost\n"
      "2026-11-26,\"LABEL, \"\"cost-center\"\" in Europe/Berlin from 1793487600\",3,0,0,1,0,0,1,"
      "2.5 credits,\n");
  EXPECT_THAT(Run({"spend", "-o", "json"}).out, HasSubstr("\"unpricedJobs\""));
  EXPECT_THAT(Run({"spend", "--by", "colour"}).err, HasSubstr("none of caller, team, model"));
  EXPECT_THAT(Run({"spend", "--since", "yesterday"}).err, HasSubstr("no day such as"));
  EXPECT_THAT(Run({"status", "-o", "csv"}).err, HasSubstr("finetune spend"));
}

TEST_F(Cli, StatusAndUploadUrlPrintWhatTheyAreTold) {
  EXPECT_THAT(Run({"status"}).out, AllOf(HasSubstr("HEALTHY"), HasSubstr("1.2.3")));
  EXPECT_THAT(Run({"upload-url", "d.zip"}).out, HasSubstr("https://storage/put/d.zip"));
  EXPECT_THAT(Run({"upload-url", "d.zip", "--output", "json"}).out,
              HasSubstr("\"requiredHeaders\""));
}

}  // namespace
}  // namespace finetune
