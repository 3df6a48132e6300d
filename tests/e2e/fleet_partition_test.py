"""Partitions between network namespaces: packets vanish, and no connection is told.

Each replica has a namespace of its own; the database, Segmind and the callers are in another one. All of it runs in a namespace that
leads nowhere else.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import postgres
import fleet_world
from fleet_nemesis_test import SEED, Nemesis, report
from fleet_world import SETTINGS, FleetWorld, Replica
from harness import Emulator, EndToEnd, Gateway, wait_until

INSIDE = bool(os.environ.get("FINETUNE_INSIDE"))
NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
SECONDS = float(os.environ.get("FINETUNE_PARTITIONS", 600 if NIGHTLY else 10))


def missing():
    """Why namespaces cannot be had here; None if they can."""
    if why := fleet_world.missing():
        return why
    for program in ("unshare", "nsenter", "ip", "iptables"):
        if not shutil.which(program):
            return f"needs {program}"
    tried = subprocess.run(["unshare", "-n", "sh", "-c", "ip link set lo up && ip link add v0 type veth peer name v1 && "
                            "iptables -A INPUT -s 10.9.0.2 -j DROP"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"network namespaces are not permitted here: {tried.stderr.strip()[:200]}"


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


class Namespace:
    """A network namespace at the end of a wire: 10.9.N.2 in there, 10.9.N.1 here."""

    def __init__(self, number):
        self.wire, self.here, self.there = f"wire{number}", f"10.9.{number}.1", f"10.9.{number}.2"
        self.keeper = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        wait_until("the namespace", lambda: os.readlink(f"/proc/{self.keeper.pid}/ns/net") != mine)
        run("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", self.keeper.pid)
        run("ip", "addr", "add", f"{self.here}/24", "dev", self.wire)
        run("ip", "link", "set", self.wire, "up")
        for words in (("addr", "add", f"{self.there}/24", "dev", "wire"), ("link", "set", "wire", "up"), ("link", "set", "lo", "up")):
            run(*self.inside, "ip", *words)

    @property
    def inside(self):
        return ["nsenter", "-t", str(self.keeper.pid), "-n"]

    def drop(self, direction, port):
        """What goes out to that port here vanishes (`up`), or what comes back from it (`down`)."""
        if direction == "up":
            run("iptables", "-A", "INPUT", "-i", self.wire, "-p", "tcp", "--dport", port, "-j", "DROP")
        else:
            run(*self.inside, "iptables", "-A", "INPUT", "-p", "tcp", "--sport", port, "-j", "DROP")

    def cut(self):
        run("ip", "link", "set", self.wire, "down")

    def heal(self):
        run("ip", "link", "set", self.wire, "up")
        run("sh", "-c", f"iptables -S INPUT | grep -- '-i {self.wire} ' | sed 's/^-A/iptables -D/' | sh")
        run(*self.inside, "iptables", "-F", "INPUT")

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


class FarReplica(Replica):
    """In a namespace of its own."""

    def __init__(self, world, number):
        self.namespace = Namespace(number)
        super().__init__(world, number)

    def make_gateway(self, *flags, env):
        return Gateway(
            self.folder, f"http://{self.namespace.here}:{self.world.upstream_port}", "--store",
            f"postgresql://admin@{self.namespace.here}/postgres?sslmode=disable&application_name=finetune-gateway-{self.number}", "--store_password_file", self.world.password,
            "--allow_insecure", "--replica_name", f"replica-{self.number}", *flags, env=env, prefix=self.namespace.inside, host=self.namespace.there)

    def heal(self):
        super().heal()
        self.namespace.heal()


class FarWorld(FleetWorld):
    def __init__(self, folder, emulator, primary):
        self.upstream_port = int(emulator.url.rsplit(":", 1)[1])
        super().__init__(folder, emulator, primary=primary)

    def make_replica(self, number):
        return FarReplica(self, number)

    def end(self):
        super().end()
        for replica in self.replicas:
            replica.namespace.close()


class Partitions(Nemesis):
    def hurt_namespace(self, hurt):
        replica = self.replica()
        hurt(replica.namespace)
        self.some(0.5, 12)
        replica.namespace.heal()

    def cut_off_a_replica(self):
        self.hurt_namespace(lambda namespace: namespace.cut())

    def lose_what_goes_to_the_database(self):
        self.hurt_namespace(lambda namespace: namespace.drop("up", 5432))

    def lose_what_the_database_says(self):
        self.hurt_namespace(lambda namespace: namespace.drop("down", 5432))

    def lose_what_segmind_says(self):
        self.hurt_namespace(lambda namespace: namespace.drop("down", self.world.upstream_port))

    def cut_off_all_from_the_database(self):
        for replica in self.world.replicas:
            replica.namespace.drop("up", 5432)
        self.some(0.5, 8)
        for replica in self.world.replicas:
            replica.namespace.heal()

    def cut_off_a_replica_while_the_disk_is_full(self):
        self.world.primary.disk.fill(left=self.chance.randint(0, 1 << 20))
        self.cut_off_a_replica()
        self.world.primary.disk.free()
        self.world.primary.come_back()

    OF_DISKS = [*Nemesis.OF_DISKS, cut_off_a_replica_while_the_disk_is_full]
    KINDS = [cut_off_a_replica, lose_what_goes_to_the_database, lose_what_the_database_says, lose_what_segmind_says,
             cut_off_all_from_the_database]


@unittest.skipUnless(INSIDE, "runs inside of the other test's namespace")
class Inside(EndToEnd):
    def test_partitions(self):
        run("ip", "link", "set", "lo", "up")
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        emulator = Emulator(folder, "--check_datasets=false", time_scale=20, listen="0.0.0.0:0")
        self.processes.append(emulator)
        primary = postgres.Server(*SETTINGS, listen="*", allow="10.9.0.0/16", own_disk=postgres.Disk.missing() is None)
        world = FarWorld(folder, emulator, primary)
        self.addCleanup(world.end)
        world.start_all().load()
        wait_until("some jobs", lambda: len(world.acked) >= 3)
        nemesis = Partitions(world, SEED)
        nemesis.run(SECONDS, Partitions.KINDS)
        world.calm()
        world.check(self)
        report("Network namespaces", world, nemesis)


@unittest.skipIf(INSIDE, "is the other test's caller")
class Namespaces(unittest.TestCase):
    def test_partitions_between_network_namespaces(self):
        if why := missing():
            self.skipTest(why)
        done = subprocess.run(["unshare", "-n", sys.executable, "-m", "unittest", "-v", "fleet_partition_test.Inside"],
                              env={**os.environ, "FINETUNE_INSIDE": "1"}, check=False)
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
