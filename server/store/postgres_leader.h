#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/store/fleet.h"
#include "server/store/pg_connection.h"

namespace finetune {

// The statements on the one row of `leader`: who reads Segmind for all, until when, and what it
// told. Those of a term change nothing once another one has begun.

// $1 and $2 of what only that term's holder does; without a term they are nobody's.
std::vector<PgValue> TermValues(const LeaderTerm* term);

// One row if it is still this term's, and has not ended.
PgQuery RenewQuery(const LeaderTerm* term, absl::Duration lease);
// Others need not wait until the lease ends.
PgQuery ResignQuery(const LeaderTerm& term);
PgQuery TellQuery(const LeaderTerm& term, std::string_view reading);
// Another ticket for a list that is wanted: its number.
PgQuery WantQuery();

// The transaction, but for its end, that begins a term of `me` if nobody's lease holds. The last one
// answers its number and the newest ticket then.
std::vector<PgQuery> TakeOverQueries(const std::string& me, absl::Duration lease);

}  // namespace finetune
