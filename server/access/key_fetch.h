#pragma once

#include "server/access/remote_keys.h"
#include "server/base/reread_files.h"
#include "server/http/http_client.h"

namespace finetune {

// Fetches key sets over `http`, which is shut down before what its callbacks use goes away. Any
// answer other than 200 is an error, and so is a redirect: the token must not travel on, and whoever
// can redirect must not choose the keys. A fetch takes 10 seconds and 1 MiB at most. A location's
// files are read at its first fetch and reread when they change, for as long as its function lives.
MakeFetchKeys MakeKeyFetch(HttpClient& http, FileRereader& rereader);

}  // namespace finetune
