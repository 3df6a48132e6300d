#include "server/store/postgres_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <random>
#include <thread>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "server/store/copy_store.h"
#include "server/store/sqlite_store.h"
#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Stands between a gateway and its database, and can lose what the database answers.
class LossyProxy {
 public:
  explicit LossyProxy(const std::string& server_folder)
      : folder_(absl::StrCat("/tmp/pgx-", MakeUuid().substr(0, 8))),
        server_(Address(server_folder)) {
    std::filesystem::create_directories(folder_);
    const sockaddr_un address = Address(folder_);
    listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 10), 0);
    thread_ = std::thread([this] { Run(); });
  }
  ~LossyProxy() {
    stop_ = true;
    thread_.join();
    close(listener_);
    std::filesystem::remove_all(folder_);
  }
  const std::string& folder() const { return folder_; }

  enum class Fault { kNone, kLoseAnswer, kLoseQuestion };
  // Of the next message with a COMMIT.
  void Next(Fault fault) { fault_ = fault; }

 private:
  static sockaddr_un Address(const std::string& folder) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    folder.copy(address.sun_path, sizeof address.sun_path - 1);
    const std::string path = folder + "/.s.PGSQL.5432";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
  }
  void Run() {
    std::vector<std::pair<int, int>> pairs;  // Client, server.
    while (!stop_) {
      std::vector<pollfd> all = {{.fd = listener_, .events = POLLIN, .revents = 0}};
      for (const auto& [client, server] : pairs) {
        all.push_back({.fd = client, .events = POLLIN, .revents = 0});
        all.push_back({.fd = server, .events = POLLIN, .revents = 0});
      }
      if (poll(all.data(), all.size(), 20) <= 0) continue;
      std::vector<std::pair<int, int>> left;
      for (size_t i = 0; i < pairs.size(); ++i) {
        const bool alive =
            (all[1 + 2 * i].revents == 0 || Pass(pairs[i].first, pairs[i].second, true)) &&
            (all[2 + 2 * i].revents == 0 || Pass(pairs[i].second, pairs[i].first, false));
        if (alive) {
          left.push_back(pairs[i]);
        } else {
          close(pairs[i].first);
          close(pairs[i].second);
        }
      }
      pairs = std::move(left);
      if (all[0].revents != 0) {
        const int client = accept(listener_, nullptr, nullptr);
        const int server = socket(AF_UNIX, SOCK_STREAM, 0);
        EXPECT_EQ(connect(server, reinterpret_cast<const sockaddr*>(&server_), sizeof server_), 0);
        pairs.emplace_back(client, server);
      }
    }
    for (const auto& [client, server] : pairs) {
      close(client);
      close(server);
    }
  }
  bool Pass(int from, int to, bool is_question) {
    // The statement, with its end: a transaction may also be READ COMMITTED.
    constexpr std::string_view kCommit("COMMIT\0", 7);
    char buffer[65536];
    const ssize_t got = recv(from, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    const std::string_view bytes(buffer, static_cast<size_t>(got));
    const bool commits = is_question && bytes.find(kCommit) != std::string_view::npos;
    const Fault fault = commits ? fault_.exchange(Fault::kNone) : Fault::kNone;
    if (fault == Fault::kLoseQuestion) return false;
    if (send(to, buffer, bytes.size(), MSG_NOSIGNAL) != got) return false;
    if (fault != Fault::kLoseAnswer) return true;
    // Until the server has done it.
    pollfd answered{.fd = to, .events = POLLIN, .revents = 0};
    poll(&answered, 1, 5'000);
    return false;
  }

  const std::string folder_;
  const sockaddr_un server_;
  int listener_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<Fault> fault_{Fault::kNone};
  std::thread thread_;
};

class PostgresStoreTest : public DatabaseTest {
 protected:
  absl::StatusOr<StoreState> Start(const std::string& folder = "") {
    store_.reset();
    auto opened = OpenPostgresStore({.target = {.url = server_.Url("record", "admin", folder)}});
    if (!opened.ok()) return opened.status();
    store_ = *std::move(opened);
    auto state = store_->Load();
    if (state.ok()) point_ = state->point;
    return state;
  }
  // A turn with one batch.
  CommitOutcome Commit(StoreBatch batch) {
    auto news = store_->Begin(point_, {});
    if (!news.ok()) return CommitOutcome::Of(news.status());
    EXPECT_FALSE(news->must_load);
    point_ = news->point;
    for (StoredChange& change : batch.changes) change.revision += point_.revision;
    const size_t changes = batch.changes.size();
    CommitOutcome outcome = store_->Commit(batch);
    if (outcome.kind == CommitOutcome::Kind::kWritten) {
      ++point_.seq;
      point_.revision += changes;
    }
    return outcome;
  }
  // As Commit, once the server is there again.
  absl::Status CommitOnceBack(const StoreBatch& batch) {
    CommitOutcome outcome = Commit(batch);
    for (int i = 0; i < 100 && !outcome.why.ok(); ++i) {
      absl::SleepFor(absl::Milliseconds(20));
      outcome = Commit(batch);
    }
    return outcome.why;
  }
  static StoreBatch NewJob(const std::string& id) {
    StoreBatch batch;
    batch.changes = {{1, absl::FromUnixNanos(1'700'000'000'000'000'007), id, "bytes of " + id, ""}};
    record::Intent intent;
    intent.set_caller("c");
    intent.set_request_id(id);
    intent.set_state(record::Intent::UNKNOWN);
    *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(5));
    batch.put_intents = {intent};
    return batch;
  }
  bool Knows(const std::string& request_id) {
    return store_->FindIntent("c", request_id).value().has_value();
  }

  std::unique_ptr<Store> store_;
  StorePoint point_;
};

TEST_F(PostgresStoreTest, KeepsWhatWasCommitted) {
  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->point.revision, 0u);
  const std::string epoch = state->epoch;
  const std::string marker_key = state->marker_key;
  EXPECT_EQ(marker_key.size(), 32u);
  const uint64_t era = state->point.era;
  StoreBatch batch = NewJob("b");
  batch.changes.push_back({2, absl::Now(), "a", std::string("with\0zero", 9), ""});
  batch.changes.push_back({3, absl::Now(), "b", "b3", "bytes of b"});
  batch.changes.push_back({4, absl::Now(), "gone", "g4", ""});
  ASSERT_TRUE(Commit(batch).why.ok());
  batch = StoreBatch();
  batch.changes = {{1, absl::Now(), "a", "a5", std::string("with\0zero", 9)},
                   {2, absl::Now(), "gone", "g6", "g4", true}};
  batch.forget_changes_through = 2;
  ASSERT_TRUE(Commit(batch).why.ok());

  state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->epoch, epoch);
  EXPECT_EQ(state->marker_key, marker_key);
  EXPECT_NE(state->point.era, era);
  EXPECT_TRUE(state->lineage.HasRevision(era, 6, 6));
  EXPECT_FALSE(state->lineage.HasRevision(era, 7, 100));
  EXPECT_EQ(state->point.revision, 6u);
  EXPECT_THAT(state->records, testing::ElementsAre("b3", "a5")) << "in the order of creation";
  ASSERT_EQ(state->changes.size(), 4u);
  EXPECT_EQ(state->changes[0].before, "bytes of b");
  EXPECT_TRUE(state->changes[3].forgotten);
  EXPECT_EQ(state->unsettled_intents.size(), 1u);
  EXPECT_EQ(store_->CountCreates("c", absl::FromUnixSeconds(1))->count, 1);
  EXPECT_EQ(store_->CountCreates("c", absl::FromUnixSeconds(5))->count, 0);
}

TEST_F(PostgresStoreTest, ForgetsAndMakesAnewWithinOneBatch) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  StoreBatch batch;
  batch.changes = {{1, absl::Now(), "a", "a2", "bytes of a", true},
                   {2, absl::Now(), "a", "a3", ""},
                   {3, absl::Now(), "b", "b4", ""},
                   {4, absl::Now(), "b", "b5", "b4", true}};
  ASSERT_TRUE(Commit(batch).why.ok());
  EXPECT_THAT(Start()->records, testing::ElementsAre("a3"));
}

// Changes of the ledger, of jobs that come and move on, and totals that are counted from now on.
// `spent` becomes what the ledger has after it.
void AddSpending(std::mt19937& random, int round, SpendingRows& spent,
                 std::vector<TotalKey>& totals, StoreBatch& batch) {
  if (random() % 3 == 0) {
    const TotalKey key{.subject = random() % 2 == 0 ? "account" : "label:k=v",
                       .measure = std::vector<std::string>{"jobs", "open", "unit:c"}[random() % 3],
                       .start = static_cast<Quarter>(random() % 20),
                       .end = static_cast<Quarter>(20 + random() % 5)};
    if (std::find(totals.begin(), totals.end(), key) == totals.end()) {
      batch.new_totals = {{key, AmountIn(key, spent)}};
      totals.push_back(key);
    }
  }
  for (size_t n = random() % 4; n > 0; --n) {
    const SpendingKey key{.quarter = static_cast<Quarter>(random() % 30),
                          .caller = absl::StrCat("c", random() % 3),
                          .labels = random() % 2 == 0 ? "k=v\n" : "",
                          .unit = "c"};
    batch.spending[key] += {.jobs = 1, .micros = round};
  }
  if (!spent.empty() && random() % 2 == 0) {
    auto from = std::next(spent.begin(), random() % spent.size());
    SpendingKey to = from->first;
    to.outcome = JobOutcome::kFailed;
    batch.spending[from->first] += {.jobs = -from->second.jobs, .micros = -from->second.micros};
    batch.spending[to] += from->second;
  }
  for (const auto& [key, change] : batch.spending) spent[key] += change;
  std::erase_if(spent, [](const auto& row) { return row.second.jobs == 0; });
}

void ExpectSpent(Store& store, const SpendingRows& spent, const std::vector<TotalKey>& totals) {
  EXPECT_EQ(store.ReadSpending({}).value(), spent);
  SpendingRows of_one;
  for (const auto& [key, count] : spent)
    if (key.caller == "c1" && key.quarter >= 3 && key.quarter < 25) of_one[key] = count;
  EXPECT_EQ(store.ReadSpending({.start = 3, .end = 25, .caller = "c1"}).value(), of_one);
  SpendingRows in_parts;
  Store::SpendingQuery query{.limit = 7};
  while (true) {
    const SpendingRows part = store.ReadSpending(query).value();
    if (part.empty()) break;
    in_parts.insert(part.begin(), part.end());
    query.after = part.rbegin()->first;
  }
  EXPECT_EQ(in_parts, spent);
  const auto amounts = store.FindTotals(totals).value();
  ASSERT_EQ(amounts.size(), totals.size());
  for (size_t i = 0; i < totals.size(); ++i)
    EXPECT_EQ(amounts[i], AmountIn(totals[i], spent)) << totals[i].subject << totals[i].measure;
  EXPECT_EQ(store.FindTotals({{.subject = "nobody", .measure = "jobs"}}).value()[0], std::nullopt);
}

// One record behaves as the other, whatever is written.
TEST_F(PostgresStoreTest, AgreesWithSqliteOverRandomBatches) {
  auto sqlite = OpenSqliteStore(":memory:").value();
  ASSERT_TRUE(sqlite->Load().ok());
  ASSERT_TRUE(Start().ok());
  std::mt19937 random(4);
  std::map<std::string, std::string> latest;
  SpendingRows spent;
  std::vector<TotalKey> totals;
  for (int round = 0; round < 150; ++round) {
    StoreBatch batch;
    AddSpending(random, round, spent, totals, batch);
    for (size_t n = random() % 8; n > 0; --n) {
      const std::string id = absl::StrCat("j", random() % 30);
      const uint64_t number = batch.changes.size() + 1;
      const std::string after = absl::StrCat(id, "@", round, "/", number);
      const bool forgets = latest.contains(id) && random() % 6 == 0;
      batch.changes.push_back({number, absl::FromUnixSeconds(round), id, after,
                               latest.contains(id) ? latest[id] : "", forgets});
      if (forgets) {
        latest.erase(id);
      } else {
        latest[id] = after;
      }
    }
    for (size_t n = random() % 3; n > 0; --n) {
      record::Intent& intent = batch.put_intents.emplace_back();
      intent.set_caller(absl::StrCat("c", random() % 2));
      // No two of a batch have one key, as a draft never has.
      intent.set_request_id(absl::StrCat("r", random() % 10, "-", batch.put_intents.size()));
      intent.set_state(static_cast<record::Intent::State>(1 + random() % 5));
      *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(round));
      if (random() % 2 == 0) *intent.mutable_settle_time() = ToProto(absl::FromUnixSeconds(round));
    }
    if (random() % 4 == 0 && point_.revision > 20)
      batch.forget_changes_through = point_.revision - 20;
    if (random() % 10 == 0) batch.forget_intents_before = absl::FromUnixSeconds(round - 10);
    if (random() % 10 == 0) batch.forget_refusals_before = absl::FromUnixSeconds(round - 3);
    StoreBatch same = batch;
    for (StoredChange& change : same.changes) change.revision += point_.revision;
    ASSERT_TRUE(sqlite->Commit(same).why.ok());
    ASSERT_TRUE(Commit(batch).why.ok()) << round;
    if (round % 30 != 29) continue;
    const StoreState a = sqlite->Load().value(), b = store_->Load().value();
    ASSERT_EQ(a.records, b.records) << round;
    ASSERT_EQ(a.point.revision, b.point.revision);
    ASSERT_EQ(a.changes.size(), b.changes.size());
    for (size_t i = 0; i < a.changes.size(); ++i) {
      ASSERT_EQ(a.changes[i].after, b.changes[i].after);
      ASSERT_EQ(a.changes[i].before, b.changes[i].before);
      ASSERT_EQ(a.changes[i].forgotten, b.changes[i].forgotten);
      ASSERT_EQ(a.changes[i].time, b.changes[i].time);
    }
    ASSERT_EQ(a.unsettled_intents.size(), b.unsettled_intents.size());
    ExpectSpent(*sqlite, spent, totals);
    ExpectSpent(*store_, spent, totals);
    for (const char* caller : {"c0", "c1"}) {
      const absl::Time since = absl::FromUnixSeconds(round - 20);
      ASSERT_EQ(sqlite->CountCreates(caller, since)->count,
                store_->CountCreates(caller, since)->count);
      ASSERT_EQ(sqlite->CountCreates(caller, since)->oldest,
                store_->CountCreates(caller, since)->oldest);
    }
  }
}

TEST_F(PostgresStoreTest, AnAnswerThatIsLostIsFoundOut) {
  LossyProxy proxy(server_.folder());
  ASSERT_TRUE(Start(proxy.folder()).ok());
  for (int round = 0; round < 5; ++round) {
    for (const auto fault : {LossyProxy::Fault::kLoseAnswer, LossyProxy::Fault::kLoseQuestion}) {
      const bool written = fault == LossyProxy::Fault::kLoseAnswer;
      const std::string id = absl::StrCat("j", round, written ? "w" : "n");
      const StorePoint before = point_;
      // Not the turn's own beginning, which has none.
      proxy.Next(fault);
      const CommitOutcome outcome = Commit(NewJob(id));
      ASSERT_EQ(outcome.kind, CommitOutcome::Kind::kOpen) << outcome.why;
      absl::StatusOr<bool> settled = store_->Settle();
      for (int i = 0; i < 100 && !settled.ok(); ++i) {
        absl::SleepFor(absl::Milliseconds(20));
        settled = store_->Settle();
      }
      ASSERT_TRUE(settled.ok()) << settled.status();
      EXPECT_EQ(*settled, written);
      auto news = store_->Begin(before, {});
      ASSERT_TRUE(news.ok()) << news.status();
      EXPECT_EQ(news->changes.size(), written ? 1u : 0u);
      EXPECT_EQ(news->intents.size(), written ? 1u : 0u);
      EXPECT_FALSE(news->must_load);
      EXPECT_EQ(Knows(id), written);
      point_ = news->point;
      store_->Abandon();
    }
  }
}

TEST_F(PostgresStoreTest, AStartThatTheDatabaseInterruptsCanBeTriedAgain) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  store_.reset();
  auto opened = OpenPostgresStore({.target = {.url = server_.Url("record")}});
  ASSERT_TRUE(opened.ok()) << opened.status();
  store_ = *std::move(opened);
  server_.Stop();
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(absl::IsUnavailable(store_->Load().status()));
  server_.Start();
  const auto state = store_->Load();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->records.size(), 1u);
}

TEST_F(PostgresStoreTest, GoesOnAfterARestartOfTheServerInANewEra) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  const StorePoint before = point_;
  server_.Stop();
  EXPECT_EQ(ReasonOf(Commit(NewJob("b")).why), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_FALSE(store_->CheckWritable().ok());
  server_.Start();
  ASSERT_EQ(CommitOnceBack(NewJob("c")), absl::OkStatus());
  EXPECT_NE(point_.era, before.era);
  EXPECT_FALSE(Knows("b"));
  EXPECT_TRUE(Start()->lineage.HasRevision(before.era, before.revision, point_.revision));
}

TEST_F(PostgresStoreTest, WhoWasAwaySoLongThatItIsForgottenComesUnderAnotherName) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  const std::string before = store_->membership().id();
  // It was taken over from, and the row that says so went, too.
  ASSERT_EQ(server_.Execute("record", "DELETE FROM finetune.members"), "");
  server_.Stop();
  server_.Start();
  ASSERT_EQ(CommitOnceBack(NewJob("b")), absl::OkStatus());
  EXPECT_NE(store_->membership().id(), before);
  EXPECT_FALSE(store_->membership().Holds(before, SteadyNow()));
}

TEST_F(PostgresStoreTest, AConnectionThatWasLostAtRestFailsNobody) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  const auto end_all = [&] {
    // And waits until they are gone.
    ASSERT_EQ(server_.Execute("postgres",
                              "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                              "application_name = 'finetune-gateway' AND pid <> pg_backend_pid()"),
              "");
  };
  end_all();
  const CommitOutcome outcome = Commit(NewJob("b"));
  EXPECT_TRUE(outcome.why.ok()) << outcome.why;
  end_all();
  const auto news = store_->Read(point_);
  EXPECT_TRUE(news.ok()) << news.status();
}

TEST_F(PostgresStoreTest, ABackupThatIsPutBackIsAnotherHistory) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  store_.reset();
  ASSERT_EQ(server_.Execute("postgres", "CREATE DATABASE copy TEMPLATE record"), "");
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("b")).why.ok());
  const StorePoint lost = point_;
  store_.reset();
  ASSERT_EQ(server_.Execute("postgres", "DROP DATABASE record"), "");
  ASSERT_EQ(server_.Execute("postgres", "ALTER DATABASE copy RENAME TO record"), "");
  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->point.revision, 1u);
  EXPECT_FALSE(state->lineage.HasRevision(lost.era, lost.revision, 100));
}

TEST_F(PostgresStoreTest, RefusesInOneClearSentence) {
  const auto refusal = [&](const std::string& url, const std::string& password_file = "") {
    const absl::Status status =
        OpenPostgresStore(
            {.target = {.url = url, .password_file = password_file}, .patience = absl::Seconds(2)})
            .status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
    return std::string(status.message());
  };
  EXPECT_THAT(refusal("postgresql://admin:geheim@localhost/record"),
              AllOf(HasSubstr("--store_password_file"), Not(HasSubstr("geheim"))));
  for (const char* password : {"ge/heim", "ge?heim", "ge#heim", "ge@heim", "ge:heim/0"}) {
    EXPECT_THAT(refusal(absl::StrCat("postgresql://admin:", password, "@127.0.0.1:9/record")),
                AllOf(HasSubstr("--store_password_file"), Not(HasSubstr("heim"))));
  }
  EXPECT_THAT(refusal(server_.Url("none")), HasSubstr("\"none\" does not exist"));
  EXPECT_THAT(refusal(server_.Url("record"), "/no/such/file"), HasSubstr("/no/such/file"));
  EXPECT_THAT(refusal("postgresql://admin@%2Fno%2Fwhere/record"), HasSubstr("/no/where"));
  ASSERT_EQ(server_.Execute("postgres", "CREATE ROLE poor LOGIN"), "");
  EXPECT_THAT(refusal(server_.Url("record", "poor")),
              HasSubstr("GRANT CREATE ON DATABASE record TO poor"));
  ASSERT_TRUE(Start().ok());
  store_.reset();
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.meta SET schema_form = 9, least_form = 5"),
            "");
  EXPECT_THAT(refusal(server_.Url("record")), HasSubstr("newer version"));
}

TEST_F(PostgresStoreTest, RefusesAStandbyAPoolerAnotherEncodingAndAnothersTables) {
  const auto refusal = [&](const std::string& url) {
    const absl::Status status =
        OpenPostgresStore({.target = {.url = url}, .patience = absl::Seconds(5)}).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
    return std::string(status.message());
  };
  ASSERT_EQ(server_.Execute("postgres",
                            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' "
                            "TEMPLATE template0"),
            "");
  EXPECT_THAT(refusal(server_.Url("latin")), HasSubstr("ENCODING 'UTF8'"));

  ASSERT_TRUE(Start().ok());
  store_.reset();
  ASSERT_EQ(server_.Execute("postgres", "CREATE ROLE guest LOGIN"), "");
  EXPECT_THAT(refusal(server_.Url("record", "guest")), HasSubstr("GRANT that role TO guest"));

  const PostgresStandby standby(server_);
  ASSERT_TRUE(standby.running());
  EXPECT_THAT(refusal(standby.Url("record")), HasSubstr("it is a standby"));

  const Pooler transactions(server_, "transaction");
  if (!transactions.running()) GTEST_SKIP() << "there is no PgBouncer here";
  EXPECT_THAT(refusal(transactions.Url("record")), HasSubstr("pooler"));
  const Pooler sessions(server_, "session");
  EXPECT_TRUE(OpenPostgresStore({.target = {.url = sessions.Url("record")}}).ok());
}

TEST_F(PostgresStoreTest, ARecordMovesThereFromAFileAndBack) {
  const std::string path = server_.folder() + "/store.db";
  StoreState before;
  CreateCount created;
  {
    auto sqlite = OpenSqliteStore(path).value();
    ASSERT_TRUE(sqlite->Load().ok());
    StoreBatch batch;
    for (uint64_t i = 1; i <= 4'500; ++i) {
      record::FineTuneRecord record;
      record.mutable_fine_tune()->set_name(absl::StrCat("fineTunes/j", i));
      record.mutable_fine_tune()->set_revision(i);
      batch.changes.push_back({i, absl::FromUnixNanos(static_cast<int64_t>(i)),
                               absl::StrCat("j", i), record.SerializeAsString(), ""});
      record::Intent intent;
      intent.set_caller(absl::StrCat("c", i % 3));
      intent.set_request_id(absl::StrCat("r", i));
      intent.set_state(static_cast<record::Intent::State>(1 + i % 5));
      *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(static_cast<int64_t>(i)));
      if (i % 5 > 1) *intent.mutable_settle_time() = intent.create_time();
      batch.put_intents.push_back(intent);
    }
    batch.forget_changes_through = 10;
    ASSERT_TRUE(sqlite->Commit(batch).why.ok());
    batch = StoreBatch();
    batch.changes = {{4'501, absl::Now(), "j7", "", "x", true}};
    ASSERT_TRUE(sqlite->Commit(batch).why.ok());
    before = sqlite->Load().value();
    created = sqlite->CountCreates("c1", absl::FromUnixSeconds(100)).value();
    ASSERT_GT(created.count, 0);
  }
  const auto expect_same = [&](const StoreState& state) {
    EXPECT_EQ(state.epoch, before.epoch);
    EXPECT_EQ(state.marker_key, before.marker_key) << "lost submissions are found by it";
    EXPECT_EQ(state.point.revision, 4'501u);
    EXPECT_EQ(state.records, before.records);
    ASSERT_EQ(state.changes.size(), before.changes.size());
    for (size_t i = 0; i < state.changes.size(); ++i) {
      EXPECT_EQ(state.changes[i].revision, before.changes[i].revision);
      EXPECT_EQ(state.changes[i].time, before.changes[i].time);
      EXPECT_EQ(state.changes[i].after, before.changes[i].after);
      EXPECT_EQ(state.changes[i].before, before.changes[i].before);
      EXPECT_EQ(state.changes[i].forgotten, before.changes[i].forgotten);
    }
    EXPECT_EQ(state.unsettled_intents.size(), before.unsettled_intents.size());
    EXPECT_TRUE(state.lineage.HasRevision(before.point.era, 4'501, 4'501));
  };
  const StorePlace file{.sqlite_path = path};
  const StorePlace database{.database = {.url = server_.Url("record")}};
  const StorePlace back{.sqlite_path = server_.folder() + "/back.db"};
  ASSERT_EQ(CopyStore(file, database), absl::OkStatus());
  EXPECT_THAT(std::string(OpenSqliteStore(path).status().message()), HasSubstr("was moved"));
  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  expect_same(*state);
  const uint64_t era = state->point.era;
  EXPECT_EQ(store_->FindIntent("c0", "r3").value()->state(), record::Intent::NOT_SUBMITTED);
  store_.reset();
  EXPECT_THAT(std::string(CopyStore(file, database).message()), HasSubstr("was moved"));

  EXPECT_THAT(std::string(CopyStore(database, file).message()), HasSubstr("a record"));
  ASSERT_EQ(CopyStore(database, back), absl::OkStatus());
  EXPECT_THAT(std::string(Start().status().message()),
              HasSubstr(absl::StrCat("start with --store=sqlite:", back.sqlite_path)));
  EXPECT_THAT(std::string(CopyStore(database, back).message()), HasSubstr("was moved"));
  {
    auto sqlite = OpenSqliteStore(back.sqlite_path).value();
    auto there = sqlite->Load();
    ASSERT_TRUE(there.ok()) << there.status();
    expect_same(*there);
    EXPECT_TRUE(there->lineage.HasRevision(era, 4'501, 4'501));
    EXPECT_EQ(sqlite->FindIntent("c0", "r3").value()->state(), record::Intent::NOT_SUBMITTED);
    const CreateCount counted = sqlite->CountCreates("c1", absl::FromUnixSeconds(100)).value();
    EXPECT_EQ(counted.count, created.count);
    EXPECT_EQ(counted.oldest, created.oldest);
    StoreBatch batch = NewJob("new");
    batch.changes[0].revision = 4'502;
    EXPECT_TRUE(sqlite->Commit(batch).why.ok());
  }
  auto again = OpenSqliteStore(back.sqlite_path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->Load()->point.revision, 4'502u);
}

TEST_F(PostgresStoreTest, AMoveThatFailsLeavesTheRecordWhereItWas) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit(NewJob("a")).why.ok());
  const StorePlace database{.database = {.url = server_.Url("record")}};
  const StorePlace file{.sqlite_path = server_.folder() + "/store.db"};
  EXPECT_THAT(std::string(CopyStore(database, file).message()),
              HasSubstr("gateways work on the record"));
  store_.reset();
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.fine_tunes SET record = '\\x0aff'"), "");
  EXPECT_THAT(std::string(CopyStore(database, file).message()), HasSubstr("damaged"));
  EXPECT_TRUE(Start().ok());
  store_.reset();
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.fine_tunes SET record = ''"), "");
  EXPECT_EQ(CopyStore(database, file), absl::OkStatus()) << "what was begun is no record";
}

}  // namespace
}  // namespace finetune
