#include "client/cli/table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace finetune::cli {
namespace {

std::string Printed(Table& table) {
  std::ostringstream out;
  table.Print(out, Colours(false));
  return out.str();
}

std::vector<Column> Columns() {
  return {{.heading = "NAME", .least = 4},
          {.heading = "STATE"},
          {.heading = "AGE", .rank = 2},
          {.heading = "ID", .rank = 1},
          {.heading = "LABELS", .wide_only = true}};
}

TEST(TableTest, ColumnsAlignAndRowsEndWhereTheirTextDoes) {
  Table table(Columns(), 0, false);
  table.Add({{"a long name"}, {"QUEUED"}, {"3d"}, {"123"}, {"x=y"}});
  table.Add({{"b"}, {"LOST"}, {""}, {""}, {""}});
  EXPECT_EQ(Printed(table),
            "NAME         STATE   AGE  ID\n"
            "a long name  QUEUED  3d   123\n"
            "b            LOST\n");
}

TEST(TableTest, WhatIsLeastImportantGoesFirst) {
  const auto fitted = [](size_t width) {
    Table table(Columns(), width, false);
    table.Add({{"a long name"}, {"QUEUED"}, {"3d"}, {"123"}, {""}});
    return Printed(table);
  };
  EXPECT_EQ(fitted(80), "NAME         STATE   AGE  ID\na long name  QUEUED  3d   123\n");
  EXPECT_EQ(fitted(24), "NAME    STATE   AGE  ID\na lon…  QUEUED  3d   123\n");
  EXPECT_EQ(fitted(20), "NAME     STATE   ID\na long…  QUEUED  123\n");
  EXPECT_EQ(fitted(14), "NAME    STATE\na lon…  QUEUED\n");
  EXPECT_EQ(fitted(1), "NAME  STATE\na l…  QUEUED\n") << "the most important stay";
}

TEST(TableTest, LaterRowsKeepTheWidthsOfTheFirst) {
  Table table(Columns(), 40, false);
  table.Add({{"a"}, {"QUEUED"}, {"3d"}, {"123"}, {""}});
  Printed(table);
  table.Add({{"a much longer name"}, {"TRAINING"}, {"3d"}, {"123"}, {""}});
  EXPECT_EQ(Printed(table), "a m…  TRAIN…  3d   123\n");
}

TEST(TableTest, AWideTableHasAllColumns) {
  Table table(Columns(), 0, true);
  table.Add({{"a"}, {"LOST"}, {"3d"}, {"1"}, {"x=y"}});
  EXPECT_EQ(Printed(table), "NAME  STATE  AGE  ID  LABELS\na     LOST   3d   1   x=y\n");
}

}  // namespace
}  // namespace finetune::cli
