#pragma once

#include "server/access/remote_keys.h"
#include "server/base/reread_files.h"
#include "server/http/http_client.h"

namespace finetune {

// Fetches key sets over `http`, which is shut down before what was given the function goes. An
// answer other than 200 is an error, a redirect too: the token must not travel, and whoever can
// redirect must not choose the keys. Within 10 seconds, and 1 MiB at most. A location's files are
// read at its first fetch and reread when they change, for as long as its function lives.
MakeFetchKeys MakeKeyFetch(HttpClient& http, FileRereader& rereader);

}  // namespace finetune
