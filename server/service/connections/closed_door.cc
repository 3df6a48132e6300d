#include "server/service/connections/closed_door.h"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <vector>

namespace finetune {
namespace {

// As many fit into the memory that the kernel grants a socket's filter.
constexpr size_t kMostSources = 200;

// Where the source's address is in a packet.
constexpr uint32_t kSourceOfFour = 12;
constexpr uint32_t kSourceOfSix = 8;
constexpr uint32_t kTakeAll = 0xffffffff;

// A program of the kernel's packet filter. A packet that it answers 0 for is dropped.
class Filter {
 public:
  explicit Filter(const std::vector<Source>& sources) {
    const auto sixes = std::count_if(sources.begin(), sources.end(),
                                     [](const Source& source) { return source.is_six; });
    const auto fours = static_cast<uint32_t>(sources.size()) - static_cast<uint32_t>(sixes);
    Load(static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL));
    SkipUnless(ETH_P_IPV6, 1);
    program_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 2 + 2 * fours));  // To those of IPv6.
    Load(kSourceOfFour + static_cast<uint32_t>(SKF_NET_OFF));
    for (const Source& source : sources)
      if (!source.is_six) DropIf(static_cast<uint32_t>(source.bits));
    Answer(kTakeAll);
    for (const Source& source : sources) {
      if (!source.is_six) continue;
      Load(kSourceOfSix + static_cast<uint32_t>(SKF_NET_OFF));
      SkipUnless(static_cast<uint32_t>(source.bits >> 32), 3);
      Load(kSourceOfSix + 4 + static_cast<uint32_t>(SKF_NET_OFF));
      DropIf(static_cast<uint32_t>(source.bits));
    }
    Answer(kTakeAll);
  }

  bool AttachTo(int socket) {
    const sock_fprog program{.len = static_cast<uint16_t>(program_.size()),
                             .filter = program_.data()};
    return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
  }

 private:
  void Load(uint32_t at) { program_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)); }
  void Answer(uint32_t bytes) { program_.push_back(BPF_STMT(BPF_RET | BPF_K, bytes)); }
  void SkipUnless(uint32_t value, uint8_t count) {
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }
  void DropIf(uint32_t value) {
    SkipUnless(value, 1);
    Answer(0);
  }

  std::vector<sock_filter> program_;
};

bool OpenDoor(int socket) {
  const int unused = 0;
  return setsockopt(socket, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) == 0 ||
         errno == ENOENT;
}

}  // namespace

bool CloseDoorTo(const std::vector<Source>& sources, int port) {
  Filter filter({sources.begin(), sources.begin() + static_cast<std::ptrdiff_t>(
                                                        std::min(sources.size(), kMostSources))});
  bool done = true;
  for (const int listener : ListenersOn(port))
    done = (sources.empty() ? OpenDoor(listener) : filter.AttachTo(listener)) && done;
  return done;
}

}  // namespace finetune
