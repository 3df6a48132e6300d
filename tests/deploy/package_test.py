"""The Debian packages: what is in them, what they need, and that they install on a bare Debian and work there.

Packs the programs of the build in FINETUNE_BUILD (.build/dev). Only those of a build with FINETUNE_STATIC are meant to be handed out, so
what they link is looked at there alone. Without root or debootstrap nothing is installed, and without lintian nothing is linted.
"""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("FINETUNE_BUILD", ".build/dev"))
TOOLS = os.path.join(ROOT, ".build/tools")

# What a program that is handed out may need by itself; what libcurl and libpq need below that is Debian's affair.
LEFT = {
    "finetune": {"libc.so.6", "libcrypto.so.3", "libcurl.so.4", "libgcc_s.so.1", "libm.so.6", "libssl.so.3", "libstdc++.so.6", "libz.so.1"},
    "finetune-gateway": {
        "libc.so.6", "libcrypto.so.3", "libcurl.so.4", "libgcc_s.so.1", "libm.so.6", "libpq.so.5", "libprometheus-cpp-core.so.1.0",
        "libsqlite3.so.0", "libssl.so.3", "libstdc++.so.6", "libz.so.1"},
}
# Where lintian is right in general and not here.
TOLERATED = {
    "embedded-library",  # Linked statically, on purpose.
    "no-manual-page", "unusual-interpreter",
    "extended-description-line-too-long",
    "initial-upload-closes-no-bugs",  # Not for Debian's own archive.
    "statically-linked-binary",
    "hardening-no-fortify-functions",  # Shows only where the compiler knows a buffer's size.
    "non-standard-dir-perm",
}

FILES = {
    "finetune": {
        "usr/bin/finetune", "usr/share/man/man1/finetune.1.gz", "usr/share/bash-completion/completions/finetune",
        "usr/share/zsh/vendor-completions/_finetune", "usr/share/fish/vendor_completions.d/finetune.fish",
        "usr/share/doc/finetune/copyright", "usr/share/doc/finetune/changelog.gz"},
    "finetune-gateway": {
        "usr/bin/finetune-gateway", "usr/share/man/man8/finetune-gateway.8.gz", "lib/systemd/system/finetune-gateway.service",
        "etc/default/finetune-gateway", "usr/share/doc/finetune-gateway/copyright", "usr/share/doc/finetune-gateway/changelog.gz",
        "usr/share/doc/finetune-gateway/examples/rules.yaml", "usr/share/doc/finetune-gateway/examples/dashboard.json"},
}


def run(*arguments, **more):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def is_static():
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        return "FINETUNE_STATIC:BOOL=ON" in cache.read()


def needed(program):
    """The libraries that the program itself asks for, but for the loader."""
    return {name for name in re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", program)) if not name.startswith("ld-linux")}


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="finetune-packages-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        programs = [os.path.join(BUILD, "bin", name) for name in ("finetune", "finetune-gateway")]
        version = run(programs[0], "--version").split()[-1]
        run(os.path.join(ROOT, "deploy/package/tree.sh"), os.path.join(BUILD, "package-tree"), *programs, version)
        run("cpack", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", cls.folder)
        cls.debs = {name: glob.glob(f"{cls.folder}/{name}_*.deb") for name in FILES}
        for name, found in cls.debs.items():
            assert len(found) == 1, (name, os.listdir(cls.folder))
            cls.debs[name] = found[0]
            run("dpkg-deb", "-x", found[0], os.path.join(cls.folder, name))

    def path(self, package, file):
        return os.path.join(self.folder, package, file)

    def test_each_has_its_files_and_no_others(self):
        for name, files in FILES.items():
            root = os.path.join(self.folder, name)
            found = {os.path.relpath(os.path.join(at, file), root) for at, _, names in os.walk(root) for file in names}
            self.assertEqual(found, files)
            for line in run("dpkg-deb", "-c", self.debs[name]).splitlines():
                mode, owner = line.split()[:2]
                self.assertEqual(owner, "root/root", line)
                self.assertIn(mode, ("drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"), line)

    def test_they_need_what_their_programs_load(self):
        for name in FILES:
            depends = run("dpkg-deb", "-f", self.debs[name], "Depends")
            for package in ("libc6 ", "libssl3", "libcurl4", "ca-certificates"):
                self.assertIn(package, depends, name)
            if is_static():
                self.assertNotRegex(depends, "grpc|protobuf|absl|re2|cares")

    @unittest.skipUnless(is_static(), "links shared libraries")
    def test_programs_to_be_handed_out_need_few_libraries(self):
        for name, left in LEFT.items():
            program = self.path(name, f"usr/bin/{name}")
            self.assertEqual(needed(program), left)
            # Nor does anything below have a second copy of what is linked in.
            loaded = run("ldd", program)
            self.assertNotRegex(loaded, r"lib(grpc|gpr|protobuf|absl|upb|re2|address_sorting|cares)")
            self.assertNotIn("not found", loaded)

    def test_the_readme_says_what_is_left(self):
        with open(os.path.join(ROOT, "client/README.md"), encoding="utf-8") as readme:
            text = readme.read()
        for library in LEFT["finetune"]:
            self.assertIn(f"`{library}`", text)

    def test_completions_are_scripts_of_their_shells(self):
        for shell, file in (("bash", "bash-completion/completions/finetune"), ("zsh", "zsh/vendor-completions/_finetune"),
                            ("fish", "fish/vendor_completions.d/finetune.fish")):
            with self.subTest(shell):
                path = self.path("finetune", f"usr/share/{file}")
                self.assertGreater(os.path.getsize(path), 500)
                if shutil.which(shell):
                    run(shell, "-n", path)

    def test_manual_pages_name_every_command_and_flag(self):
        page = run("zcat", self.path("finetune", "usr/share/man/man1/finetune.1.gz")).replace("\\-", "-")
        for command in ("create", "list", "describe", "upload-url", "whoami", "completion"):
            self.assertIn(f"\n.SS finetune {command}\n", page)
        page = run("zcat", self.path("finetune-gateway", "usr/share/man/man8/finetune-gateway.8.gz")).replace("\\-", "-")
        flags = re.findall(r"^  --(\w+) ", run(os.path.join(BUILD, "bin/finetune-gateway"), "--help"), re.M)
        self.assertGreater(len(flags), 20)
        for flag in flags:
            self.assertIn(f".B --{flag}\n", page)
        if shutil.which("man"):
            for name, section in (("finetune", 1), ("finetune-gateway", 8)):
                file = self.path(name, f"usr/share/man/man{section}/{name}.{section}.gz")
                done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", file], capture_output=True, text=True, check=True,
                                      env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "200"})
                self.assertEqual(done.stderr, "")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_the_unit_is_valid_and_shut_in(self):
        unit = os.path.join(self.folder, "finetune-gateway.service")
        with open(self.path("finetune-gateway", "lib/systemd/system/finetune-gateway.service"), encoding="utf-8") as f:
            text = f.read()
        program = self.path("finetune-gateway", "usr/bin/finetune-gateway")
        with open(unit, "w", encoding="utf-8") as f:
            f.write(re.sub(r"Documentation=.*\n", "", text).replace("/usr/bin/finetune-gateway", program))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("ExecStartPre=/usr/bin/finetune-gateway --check\n", text)
        exposure = run("systemd-analyze", "security", "--offline=yes", unit)
        self.assertLess(float(re.search(r"exposure level for .*: ([0-9.]+)", exposure).group(1)), 2.0)

    @unittest.skipUnless(shutil.which("lintian"), "there is no lintian")
    def test_lintian_finds_nothing_serious(self):
        for deb in self.debs.values():
            done = subprocess.run(["lintian", "--allow-root", deb], capture_output=True, text=True, check=False)
            found = [line for line in done.stdout.splitlines() if re.match("[EW]:", line) and line.split()[2] not in TOLERATED]
            self.assertEqual(found, [], done.stdout)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("debootstrap"), "needs root and debootstrap")
    def test_they_install_on_a_bare_debian_and_work_there(self):
        done = subprocess.run([os.path.join(HERE, "install_packages.sh"), *self.debs.values()], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
