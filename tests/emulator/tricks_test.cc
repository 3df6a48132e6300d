// What Segmind does beside its documents, played by the real program.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/emulator/emulator_process.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Tricks : public EmulatorTest {
 protected:
  void SetUp() override { Start({"--time_scale=0", "--check_datasets=false"}); }

  Reply Stats() { return Call("GET", url_ + "/emulator/stats"); }
  std::string Taken() { return Submit("http://a/b.zip").body; }
  // A job by hand; its id.
  std::string Made(const std::string& fields) { return Text(Control("jobs", fields).body, "id"); }

  // All that comes back on a bare connection, up to `most` bytes.
  std::string Raw(const std::string& request, size_t most = 1 << 20) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(std::stoi(url_.substr(url_.rfind(':') + 1)));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    std::string all;
    char buffer[65536];
    ssize_t got = 0;
    while (all.size() < most && (got = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
      all.append(buffer, got);
    }
    close(fd);
    return all;
  }
  std::string RawList(size_t most = 1 << 20) {
    return Raw("GET /finetune/request/list HTTP/1.1\r\nHost: x\r\nx-api-key: emulator-key\r\n\r\n",
               most);
  }
};

TEST_F(Tricks, APageCanActOnEveryCall) {
  Control("faults", R"({"call":"submit","kind":"status","code":404,"body":"<html>x</html>",)"
                    R"("content_type":"text/html","act":true})");
  const Reply page = Submit("http://a/b.zip");
  EXPECT_EQ(page.code, 404);
  EXPECT_EQ(page.body, "<html>x</html>");
  EXPECT_THAT(page.head, HasSubstr("Content-Type: text/html"));
  EXPECT_THAT(Stats().body, HasSubstr(R"("submits_taken":1)"));
  // Those that refuse by nature act as well, if told so.
  for (const char* kind :
       {"rate_limited", "retired", "no_credits", "key_revoked", "close_before"}) {
    Control("faults",
            std::string(R"({"call":"submit","act":true,"count":1,"kind":")") + kind + "\"}");
    EXPECT_NE(Submit("http://a/b.zip").code, 200) << kind;
  }
  EXPECT_THAT(Stats().body, HasSubstr(R"("submits_taken":6)"));
  const std::string id = Made(R"({"name":"x","status":"AVAILABLE"})");
  Control("faults", R"({"call":"access_update","kind":"html","act":true})");
  EXPECT_EQ(Api("PUT", "/finetune/request/access-update",
                "request_id=" + id + "&segmind_public=True", kForm)
                .code,
            502);
  EXPECT_THAT(List().body, HasSubstr(R"("segmind_public_model":true)"));
}

TEST_F(Tricks, ErrorsComeInManyShapes) {
  Control("faults", R"({"call":"submit","kind":"status","code":400,"shape":"detail_list",)"
                    R"("message":"field required","field":"trigger_word"})");
  EXPECT_EQ(Submit("http://a/b.zip").body,
            R"({"detail":[{"type":"value_error","loc":["body","trigger_word"],)"
            R"("msg":"field required"}]})");
  Control("faults", R"({"call":"list","kind":"status","code":503,"retry_after":"seconds",)"
                    R"("seconds":7200})");
  EXPECT_THAT(List().head, HasSubstr("Retry-After: 7200\r\n"));
  Control("faults", R"({"call":"list","kind":"rate_limited","retry_after":"date"})");
  EXPECT_THAT(List().head, AllOf(HasSubstr("Retry-After: "), HasSubstr(" GMT\r\n"),
                                 Not(HasSubstr("x-rate-limit-reset"))));
  EXPECT_EQ(Control("faults", R"({"kind":"status","shape":"nonsense"})").code, 400);
}

TEST_F(Tricks, TheKeyIsRepeatedWhereverOneLikes) {
  Made(R"({"name":"x"})");
  Control("faults", R"({"call":"list","kind":"headers","headers":{"x-echo":"{api_key}"}})");
  Control("faults", R"({"call":"list","kind":"set_field","field":"error_message",)"
                    R"("value":"no {api_key:base64}"})");
  const Reply list = List();
  EXPECT_THAT(list.head, HasSubstr("x-echo: emulator-key\r\n"));
  EXPECT_THAT(list.body, HasSubstr(R"("error_message":"no ZW11bGF0b3Ita2V5")"));
  Control("faults", R"({"call":"list","kind":"status","code":400,)"
                    R"("body":"{\"error\":\"{api_key:escaped}\"}"})");
  EXPECT_THAT(List().body, HasSubstr("\\u0065\\u006d"));
}

TEST_F(Tricks, NamesAreMangled) {
  Control("settings", R"({"name_mangling":"upper,suffix:-v1"})");
  EXPECT_THAT(Taken(), HasSubstr(R"("name":"CAT-v1")"));
  EXPECT_THAT(List().body, HasSubstr(R"("name":"CAT-v1")"));
  // What was submitted is found by the name that was sent.
  EXPECT_THAT(Call("GET", url_ + "/emulator/submits?name=Cat").body, HasSubstr(R"("taken":true)"));
  EXPECT_EQ(Control("settings", R"({"name_mangling":"sideways"})").code, 400);
}

TEST_F(Tricks, TheListComesInPagesAndInEitherOrder) {
  for (const char* name : {"one", "two", "three"}) Made(std::string(R"({"name":")") + name + "\"}");
  Control("settings", R"({"list_page_size":2,"list_paging":"next_url","list_order":"oldest"})");
  const Reply first = List();
  EXPECT_THAT(first.body, AllOf(HasSubstr("one"), HasSubstr("two"), Not(HasSubstr("three"))));
  const Reply second = Call("GET", Text(first.body, "next"), {kKey});
  EXPECT_THAT(second.body, AllOf(HasSubstr("three"), HasSubstr(R"("next":null)")));
}

TEST_F(Tricks, UrlsAreSignedAnewAndOpenPrivateWeights) {
  Made(R"({"name":"x","base_model":"QWEN","status":"AVAILABLE","weights_bytes":1000})");
  for (const char* style : {"s3", "gcs", "azure", "cloudfront"}) {
    Control("settings", std::string(R"({"sign_urls":")") + style + "\"}");
    std::set<std::string> urls;
    for (int i = 0; i < 2; ++i) {
      const auto list = ParseJson(List().body);
      urls.insert((*list)[0]["cloud_storage_url"].GetString());
      urls.insert((*list)[0]["model_information"]["lora_url"].GetString());
    }
    EXPECT_EQ(urls.size(), 4u) << style;
    for (const std::string& url : urls) {
      EXPECT_EQ(Call("GET", url, {}, "", true).body.size(), 1000u) << url;
      EXPECT_EQ(Call("GET", url.substr(0, url.find('?')), {}, "", true).code, 403);
      // Asked for by its signed URL or by the bare one, a fresh one is given.
      const std::string fresh = Api("GET", "/finetune/request/file/download",
                                    "cloud_storage_url=" + url.substr(0, url.find('?')), kForm)
                                    .body;
      EXPECT_EQ(Call("GET", fresh, {}, "", true).body.size(), 1000u);
    }
  }
}

TEST_F(Tricks, WhoseWeightsArePrivateCanBeSet) {
  const std::string id = Made(R"({"name":"x","base_model":"FAST_FLUX","status":"AVAILABLE"})");
  const std::string url = url_ + "/gcs/segmind-finetuned-models/" + id + ".safetensors";
  EXPECT_EQ(Call("HEAD", url, {}, "", true).code, 200);
  Control("settings", R"({"private_weights":"all"})");
  EXPECT_EQ(Call("HEAD", url, {}, "", true).code, 403);
}

TEST_F(Tricks, ClocksAreSkewedOneByOne) {
  Control("settings", R"({"date_offset_seconds":-86400000,"clock_offset_seconds":86400000,)"
                      R"("timestamp_format":"epoch","list_timestamps":true})");
  Made(R"({"name":"x"})");
  const Reply list = List();
  const auto now = std::time(nullptr);
  const auto items = ParseJson(list.body);
  EXPECT_NEAR((*items)[0]["created_ts"].GetDouble(), static_cast<double>(now) + 86400000, 60);
  const size_t date = list.head.find("Date: ");
  ASSERT_NE(date, std::string::npos);
  EXPECT_NEAR(static_cast<double>(curl_getdate(list.head.c_str() + date + 6, nullptr)),
              static_cast<double>(now) - 86400000, 60);
  Control("settings", R"({"date_header":false})");
  EXPECT_THAT(List().head, Not(HasSubstr("Date: ")));
}

TEST_F(Tricks, BodiesAreEncodedChunkedAndBlownUp) {
  const std::string id = Made(R"({"name":"x","status":"AVAILABLE","weights_bytes":1000})");
  const std::string weights = url_ + "/gcs-content/9/" + id + ".safetensors";
  const std::string plain = Call("GET", weights).body;
  Control("faults", R"({"call":"weights_get","kind":"encoded"})");
  const Reply packed = Call("GET", weights);
  EXPECT_THAT(packed.head, HasSubstr("Content-Encoding: gzip"));
  EXPECT_THAT(packed.body, StartsWith("\x1f\x8b"));
  Control("faults", R"({"call":"list","kind":"encoded","encoding":"br"})");
  EXPECT_THAT(List().head, HasSubstr("Content-Encoding: br"));
  Control("faults", R"({"call":"list","kind":"gzip_bomb","bytes":1073741824})");
  EXPECT_LT(List().body.size(), 2u << 20);
  Control("faults", R"({"call":"weights_get","kind":"chunked"})");
  const Reply chunked = Call("GET", weights);
  EXPECT_THAT(chunked.head,
              AllOf(HasSubstr("Transfer-Encoding: chunked"), Not(HasSubstr("Content-Length"))));
  EXPECT_EQ(chunked.body, plain);
}

TEST_F(Tricks, TheWireIsFlooded) {
  Control("faults", R"({"call":"list","kind":"endless_headers","bytes":300000})");
  const std::string headers = RawList();
  EXPECT_THAT(headers, StartsWith("HTTP/1.1 200 Emulated\r\n"));
  EXPECT_GT(headers.size(), 300000u);
  Control("faults", R"({"call":"list","kind":"endless_trailers"})");
  const std::string trailers = RawList(2 << 20);
  EXPECT_THAT(trailers, HasSubstr("\r\n\r\n2\r\n[]\r\n0\r\nx-filler: "));
  EXPECT_GE(trailers.size(), 2u << 20);  // And the emulator goes on when we have gone.
  Control("faults", R"({"call":"list","kind":"interim","times":3})");
  const Reply last = List();
  EXPECT_EQ(last.code, 200);
  EXPECT_EQ(last.body, "[]");
  EXPECT_THAT(last.head, StartsWith("HTTP/1.1 103 "));
  Control(
      "faults",
      R"({"call":"list","kind":"raw","body":"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}"})");
  EXPECT_EQ(RawList(), "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}");
  EXPECT_EQ(List().body, "[]");
}

TEST_F(Tricks, RedirectsAreOdd) {
  const std::string id = Made(R"({"name":"x","status":"AVAILABLE"})");
  const std::string weights = url_ + "/gcs-content/9/" + id + ".safetensors";
  for (const char* url :
       {"http://h/a b", "http://h/a\tb", "http://h:99999/x", "//h", "?", "http://[::1"}) {
    Control("faults", R"({"kind":"redirect_to","url":)" + Quoted(url) + "}");
    const Reply reply = Call("GET", weights);
    EXPECT_EQ(reply.code, 302);
    EXPECT_THAT(reply.head, HasSubstr("Location: " + std::string(url) + "\r\n"));
  }
}

TEST_F(Tricks, FilesAreWhatTheyShouldNotBe) {
  const std::string id = Made(R"({"name":"x","status":"AVAILABLE"})");
  const std::string weights = url_ + "/gcs-content/9/" + id + ".safetensors";
  Control("faults", R"({"call":"weights_get","kind":"content","content":"lfs_pointer"})");
  EXPECT_THAT(Call("GET", weights).body, StartsWith("version https://git-lfs"));
  Control("faults", R"({"call":"weights_get","kind":"content","content":"empty"})");
  EXPECT_EQ(Call("GET", weights).body, "");
  EXPECT_EQ(Control("faults", R"({"kind":"content","content":"nonsense"})").code, 400);
}

TEST_F(Tricks, UploadsAreRefusedInStoragesWords) {
  const std::string path = url_ + "/storage/finetune-pipeline/x.zip";
  for (const auto& [word, code] :
       {std::pair("EntityTooLarge", 400), std::pair("AccessDenied", 403),
        std::pair("MissingContentLength", 411), std::pair("RequestEntityTooLarge", 413)}) {
    Control("faults", std::string(R"({"call":"storage_put","kind":"storage_error","s3_code":")") +
                          word + "\"}");
    const Reply reply = Call("PUT", path, {kZip}, "zip");
    EXPECT_EQ(reply.code, code);
    EXPECT_THAT(reply.body, HasSubstr(word));
  }
  Control("faults", R"({"call":"storage_put","kind":"redirect_to","code":307,"url":"http://h/"})");
  EXPECT_EQ(Call("PUT", path, {kZip}, "zip").code, 307);
}

TEST_F(Tricks, ASubmitIsAnsweredWithAnotherJob) {
  const std::string first = Text(Taken(), "finetune_id");
  Taken();
  Control("faults", R"({"kind":"other_id","job":")" + first + "\"}");
  EXPECT_EQ(Text(Taken(), "finetune_id"), first);
  EXPECT_THAT(Stats().body, HasSubstr(R"("submits_taken":3)"));
}

TEST_F(Tricks, AJobIsCloned) {
  const std::string id = Text(Taken(), "finetune_id");
  const Reply clone = Control("jobs", R"({"clone_of":")" + id + R"(","instance_prompt":"other"})");
  EXPECT_EQ(Text(clone.body, "name"), "Cat");
  EXPECT_EQ(Text(clone.body, "instance_prompt"), "other");
  EXPECT_NE(Text(clone.body, "id"), id);
  EXPECT_EQ(ParseJson(List().body)->Size(), 2u);
  EXPECT_EQ(Control("jobs", R"({"clone_of":"none"})").code, 404);
}

TEST_F(Tricks, AJobIsCancelled) {
  const std::string id = Text(Taken(), "finetune_id");
  EXPECT_EQ(Text(Control("jobs/" + id + "/cancel").body, "status"), "CANCELLED");
  EXPECT_THAT(Details(id).body, AllOf(HasSubstr(R"("status":"CANCELLED")"),
                                      HasSubstr(R"("error_message":"Cancelled by user")")));
  EXPECT_EQ(Text(Control("jobs/" + id + "/cancel", R"({"status":"EXPIRED"})").body, "status"),
            "EXPIRED");
}

TEST_F(Tricks, APageOfAnotherOriginMayTurnTheControls) {
  const Reply preflight = Call("OPTIONS", url_ + "/emulator/faults");
  EXPECT_EQ(preflight.code, 204);
  EXPECT_THAT(preflight.head, HasSubstr("Access-Control-Allow-Methods: GET, POST, PUT, DELETE"));
  EXPECT_THAT(Call("GET", url_ + "/emulator/stats").head,
              HasSubstr("Access-Control-Allow-Origin: *"));
  EXPECT_THAT(List().head, Not(HasSubstr("Access-Control")));
}

// Runs the program to its end; the exit code.
int RunToEnd(const std::string& arguments) {
  const int status = std::system(
      (std::string(EMULATOR_BINARY) + " " + arguments + " >/dev/null 2>&1 </dev/null").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(CommandLine, SaysItsVersionAndRefusesWhatIsWrong) {
  EXPECT_EQ(RunToEnd("--version"), 0);
  EXPECT_EQ(RunToEnd("--help"), 0);
  for (const char* wrong :
       {"--no_such_flag", "--time_scale=x", "--webhook_url=ftp://a/", "--webhook_url=nonsense",
        "--listen=nowhere", "--set=name_mangling=sideways", "--set=nothing=1", "--set=nothing"}) {
    EXPECT_EQ(RunToEnd(wrong), 2) << wrong;
  }
  EXPECT_EQ(RunToEnd("--listen=127.0.0.1:0 --port_file=/no/such/folder/port"), 1);
}

class SetByFlag : public Tricks {
 protected:
  void SetUp() override {
    Start({"--set=name_mangling=upper,suffix:-v1", "--set=api_key=123", "--set=list_page_size=2"});
  }
};

TEST_F(SetByFlag, AllSettingsCanBeHad) {
  const Reply settings = Call("GET", url_ + "/emulator/settings");
  EXPECT_THAT(settings.body,
              AllOf(HasSubstr(R"("name_mangling":"upper,suffix:-v1")"),
                    HasSubstr(R"("api_key":"123")"), HasSubstr(R"("list_page_size":2)")));
}

}  // namespace
}  // namespace finetune::emulator
