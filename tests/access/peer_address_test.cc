#include "server/access/peer_address.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(PeerAddress, IsReadFromWhatGrpcSays) {
  EXPECT_EQ(AddressOf("ipv4:192.0.2.1:4711"), "192.0.2.1");
  EXPECT_EQ(AddressOf("ipv6:%5B2001:db8::1%5D:4711"), "2001:db8::1");
  EXPECT_EQ(AddressOf("ipv6:[2001:db8::1]:4711"), "2001:db8::1");
  EXPECT_EQ(AddressOf("unix:/run/x"), "");
  EXPECT_EQ(AddressOf(""), "");
}

TEST(PeerAddress, AMachineHasAllAddressesOfItsNetwork) {
  EXPECT_EQ(MachineOf("ipv4:192.0.2.1:4711"), MachineOf("ipv4:192.0.2.1:4712"));
  EXPECT_NE(MachineOf("ipv4:192.0.2.1:4711"), MachineOf("ipv4:192.0.2.2:4711"));
  EXPECT_EQ(MachineOf("ipv6:%5B2001:db8:1:2::1%5D:1"), MachineOf("ipv6:[2001:db8:1:2:f::9]:2"));
  EXPECT_NE(MachineOf("ipv6:%5B2001:db8:1:2::1%5D:1"), MachineOf("ipv6:[2001:db8:1:3::1]:2"));
  EXPECT_EQ(MachineOf("ipv6:[fe80::1%25eth0]:1"), MachineOf("ipv6:[fe80::2%25eth0]:1"));
}

TEST(PeerAddress, AMappedIpv4AddressIsThatMachine) {
  EXPECT_EQ(MachineOf("ipv6:%5B::ffff:192.0.2.1%5D:1"), "192.0.2.1");
  EXPECT_NE(MachineOf("ipv6:%5B::ffff:192.0.2.1%5D:1"), MachineOf("ipv6:%5B::ffff:192.0.2.2%5D:1"));
}

TEST(PeerAddress, WhatHasNoAddressIsTakenAsItIs) {
  EXPECT_EQ(MachineOf("unix:/run/x"), "unix:/run/x");
  EXPECT_EQ(MachineOf(""), "");
  EXPECT_EQ(MachineOf("ipv6:"), "ipv6:");
}

}  // namespace
}  // namespace finetune
