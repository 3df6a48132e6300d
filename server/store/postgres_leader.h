#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/store/fleet.h"
#include "server/store/pg_connection.h"

namespace finetune {

// The statements on the one row of `leader`: who reads Segmind for all, until when, and what it
// has told. A statement of one term changes nothing once another term has begun.

// The parameters $1 and $2 of statements that only the holder of a term may run. Without a term
// they match no holder.
std::vector<PgValue> TermValues(const LeaderTerm* term);

// Returns one row if the term is still the current one and has not ended.
PgQuery RenewQuery(const LeaderTerm* term, absl::Duration lease);
// Ends the lease, so that others need not wait for its end.
PgQuery ResignQuery(const LeaderTerm& term);
PgQuery TellQuery(const LeaderTerm& term, std::string_view reading);
// Draws a ticket for a list that is wanted, and returns its number.
PgQuery WantQuery();

// A transaction, without its end, that begins a term of `me` if no lease holds. The last statement
// returns the term's number and the newest ticket.
std::vector<PgQuery> TakeOverQueries(const std::string& me, absl::Duration lease);

}  // namespace finetune
