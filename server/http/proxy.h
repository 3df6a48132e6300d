#pragma once

#include <string>

#include "server/base/environment.h"
#include "server/base/url.h"

namespace finetune {

// The proxy to fetch `url` through, according to the environment; empty for none. Chosen here and
// not by libcurl, because the address of a socket is judged by where it leads: to the proxy, or to
// the URL's host.
//
// http_proxy (lower case only: CGI lets callers set the other one), https_proxy and all_proxy name
// it. no_proxy lists what is reached directly: names with all below them, addresses, blocks such as
// 10.0.0.0/8, each with `:port` if only that one is meant, or `*`. This host itself is always
// reached directly.
std::string ProxyFor(const Url& url, const Environment& environment);

// The variables that it looks at, of this process.
Environment ProxyVariables();

}  // namespace finetune
