#include "server/http/address_policy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace finetune {
namespace {

bool IsPublic(const std::string& text) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1)
    return IsPublicAddress(reinterpret_cast<sockaddr*>(&v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
  return IsPublicAddress(reinterpret_cast<sockaddr*>(&v6));
}

AddressPolicy Policy(const std::vector<std::string>& hosts,
                     const std::string& upstream = "https://api.segmind.com") {
  auto policy = AddressPolicy::Create(hosts, upstream);
  EXPECT_TRUE(policy.ok()) << policy.status();
  return *policy;
}

// What the policy says of a URL, and Url of what is none.
absl::Status OfTransfer(const AddressPolicy& policy, const char* url) {
  const auto parsed = Url::Parse(url);
  return parsed.ok() ? policy.CheckTransfer(*parsed) : parsed.status();
}
absl::Status OfForeign(const AddressPolicy& policy, const char* url) {
  const auto parsed = Url::Parse(url);
  return parsed.ok() ? policy.CheckForeign(*parsed) : parsed.status();
}

AddressPolicy DefaultPolicy() {
  const std::string defaults(kDefaultTransferHosts);
  const std::vector<std::string> hosts = absl::StrSplit(defaults, ',');
  return Policy(hosts);
}

TEST(AddressPolicy, TellsPublicAddressesFromOthers) {
  for (const char* address : {"8.8.8.8", "52.216.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1",
                              "100.128.0.1", "2a00:1450:4001::1", "2600:1f18::1"})
    EXPECT_TRUE(IsPublic(address)) << address;
  for (const char* address : {"127.0.0.1",
                              "127.255.255.254",
                              "10.1.2.3",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.168.1.1",
                              "169.254.169.254",
                              "100.64.0.1",
                              "100.127.255.255",
                              "0.0.0.0",
                              "224.0.0.1",
                              "239.1.1.1",
                              "240.0.0.1",
                              "255.255.255.255",
                              "192.0.2.1",
                              "198.18.0.1",
                              "::1",
                              "::",
                              "::ffff:8.8.8.8",
                              "::ffff:127.0.0.1",
                              "::127.0.0.1",
                              "64:ff9b::7f00:1",
                              "64:ff9b:1::1",
                              "fc00::1",
                              "fd12::1",
                              "fe80::1",
                              "ff02::1",
                              "2001:db8::1",
                              "2001::1",
                              "2002:7f00:1::1",
                              "3fff::1"})
    EXPECT_FALSE(IsPublic(address)) << address;
}

TEST(AddressPolicy, LetsTransfersGoToSegmindAndItsStoragesOnly) {
  const AddressPolicy policy = DefaultPolicy();
  for (const char* url :
       {"https://finetune-pipeline.s3.amazonaws.com/uploads/x.zip?X-Amz-Signature=1",
        "https://b.s3.us-east-1.amazonaws.com/x", "https://s3.eu-west-1.amazonaws.com/b/x",
        "https://storage.googleapis.com/b/w.safetensors", "https://b.storage.googleapis.com/w",
        "https://API.Segmind.com:443/x", "https://cdn.segmind.com./x"})
    EXPECT_TRUE(OfTransfer(policy, url).ok()) << url << OfTransfer(policy, url);
  for (const char* url :
       {"https://example.com/x", "https://evil-segmind.com/", "https://segmind.com.evil.com/",
        "https://s3.amazonaws.com.evil.com/", "https://ec2.amazonaws.com/", "https://127.0.0.1/",
        "https://[::1]/", "https://10.0.0.1/", "http://storage.googleapis.com/plain",
        "https://storage.googleapis.com@evil.com/", "https://evil.com#storage.googleapis.com",
        "https://evil.com\\.segmind.com/", "ftp://storage.googleapis.com/", "https://",
        "https:///x", "file:///etc/passwd", "https://storage.googleapis.com:99999/",
        "https://a b.segmind.com/"})
    EXPECT_FALSE(OfTransfer(policy, url).ok()) << url;
}

TEST(AddressPolicy, LetsOnlyWhatTheOperatorNamesBePrivate) {
  const AddressPolicy policy =
      Policy({"storage:9000", "*.corp.example", "storage.googleapis.com"}, "http://127.0.0.1:8090");
  const auto may = [&](const char* url) { return policy.MayBePrivate(*Url::Parse(url)); };
  EXPECT_TRUE(may("http://127.0.0.1:8090/x"));
  EXPECT_FALSE(may("http://127.0.0.1:8091/x"));
  EXPECT_FALSE(may("http://localhost:8090/x"));
  EXPECT_TRUE(may("http://storage:9000/x"));
  EXPECT_FALSE(may("https://storage/x"));
  EXPECT_FALSE(may("https://a.corp.example/x"));
  // A default host, also when it is repeated.
  EXPECT_FALSE(may("https://storage.googleapis.com/x"));
  EXPECT_TRUE(OfTransfer(policy, "http://127.0.0.1:8090/x").ok());
  EXPECT_FALSE(OfTransfer(policy, "http://127.0.0.1:8091/x").ok());
  EXPECT_FALSE(OfTransfer(policy, "http://a.corp.example/x").ok());
  EXPECT_TRUE(OfTransfer(policy, "https://a.corp.example/x").ok());
}

TEST(AddressPolicy, RefusesForeignUrlsWithAddressesThatAreNotPublic) {
  const AddressPolicy policy = Policy({}, "http://127.0.0.1:8090");
  EXPECT_TRUE(OfForeign(policy, "https://datasets.example/cats.zip").ok());
  EXPECT_TRUE(OfForeign(policy, "http://127.0.0.1:8090/cats.zip").ok());
  for (const char* url : {"http://127.0.0.1/x", "http://169.254.169.254/latest", "http://[::1]/x",
                          "http://[::ffff:10.0.0.1]/x", "https://user@host/x", "http://127.1/x",
                          "http://2130706433/x", "http://0x7f000001:8091/x", "http://0/x",
                          "http://[0:0:0:0:0:0:0:1]/x", "http://localhost:8090/x",
                          "http://LOCALHOST./x", "http://a.localhost/x"})
    EXPECT_FALSE(OfForeign(policy, url).ok()) << url;
}

TEST(AddressPolicy, RefusesHostsThatAreNone) {
  for (const char* host : {"*",      "a.*",     "",          "a..b",      "https://a.b",
                           "a/b",    "a:0",     "a:x",       "a b",       "[::1]garbage",
                           "[::1",   "[::1]:0", "[::1]:x",   "[1.2.3.4]", "a:",
                           "a:b:c",  "user@a",  "a?b",       "a#b",       "*a.b",
                           "a.*b.c", "*:80",    "1.2.3.256", "a:99999",   "[::1]:99999999999"})
    EXPECT_FALSE(AddressPolicy::Create({host}, "https://api.segmind.com").ok()) << host;
}

TEST(AddressPolicy, ReadsHostsAsUrlsHaveThem) {
  for (const char* host :
       {"[0:0::1]:9000", "[::1]", "127.1", "127.0.0.1:9000", "Storage.", "storage:9000"})
    EXPECT_TRUE(AddressPolicy::Create({host}, "https://api.segmind.com").ok()) << host;
  EXPECT_TRUE(OfTransfer(Policy({"[0:0::1]:9000"}), "http://[::1]:9000/x").ok());
  EXPECT_FALSE(OfTransfer(Policy({"[0:0::1]:9000"}), "http://[::1]:9001/x").ok());
  EXPECT_TRUE(OfTransfer(Policy({"127.1"}), "http://127.0.0.1:1/x").ok());
  EXPECT_TRUE(OfTransfer(Policy({"*.Corp.example:8443"}), "https://a.corp.example:8443/x").ok());
  EXPECT_FALSE(OfTransfer(Policy({"*.corp.example:8443"}), "https://a.corp.example/x").ok());
}

TEST(AddressPolicy, ShowsTheHostAndNothingElseOfAUrl) {
  const absl::Status status =
      OfTransfer(DefaultPolicy(), "https://evil.example/path?X-Amz-Signature=secret");
  EXPECT_TRUE(absl::StrContains(status.message(), "evil.example"));
  EXPECT_FALSE(absl::StrContains(status.message(), "secret"));
}

}  // namespace
}  // namespace finetune
