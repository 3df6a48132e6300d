#pragma once

#include <string>
#include <vector>

#include "tests/emulator/http.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/settings.h"

namespace finetune::emulator {

// How a page of the list tells that it is one:
//   silent    not at all: a bare array of the first jobs, whatever is asked
//   has_more  {"finetunes":[...],"has_more":true}
//   next_url  {"finetunes":[...],"count":9,"next":"http://...","previous":null}
//   next_path the same with a path in place of the URL
//   cursor    {"finetunes":[...],"next_cursor":"..."}
//   page      {"finetunes":[...],"page":1,"per_page":3,"total_pages":3}
//   total     {"finetunes":[...],"total":9}
//   link      a bare array and the header Link: <http://...>; rel="next"
const std::vector<std::string>& PagingStyles();

// The page of `items` that the request asks for, by offset, page (from 1), cursor, starting_after
// (an id) and limit, which each style but silent understands. With no page size set: all of them.
Answer ListAnswer(const std::vector<ListItem>& items, const Request& request,
                  const Settings& settings);

}  // namespace finetune::emulator
