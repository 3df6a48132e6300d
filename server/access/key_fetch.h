#pragma once

#include "server/access/remote_keys.h"
#include "server/base/reread_files.h"
#include "server/http/http_client.h"

namespace finetune {

// Fetches key sets over `http`, which is shut down before what its callbacks use goes away. Any
// answer other than 200 is an error, also a redirect: the token must not be sent on, and a server
// that can redirect must not choose the keys. A fetch takes at most 10 seconds and 1 MiB. A
// location's files are read at its first fetch and reread when they change, as long as its function
// lives.
MakeFetchKeys MakeKeyFetch(HttpClient& http, FileRereader& rereader);

}  // namespace finetune
