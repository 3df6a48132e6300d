"""PostgreSQL for the end-to-end tests: a primary and its standbys, and what may befall them.

Each listens on a socket in its own folder, and on no port. As root they run as the user that Debian's package makes: initdb refuses root.
"""

import glob
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

from harness import wait_until

FOLDERS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
PASSWORD = "geheim"


class Disk:
    """A folder that is a file system of its own, in memory, which can be full and have room again. It ends with `remove`."""

    ROOM = "2g"  # What is not used costs nothing.

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.ROOM},mode=755", "none", self.folder], check=True, capture_output=True)

    def _resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True, capture_output=True)

    def fill(self, left=0):
        """From now on so many bytes are free."""
        state = os.statvfs(self.folder)
        self._resize((state.f_blocks - state.f_bfree) * state.f_frsize + left)

    def free(self):
        self._resize(self.ROOM)

    def remove(self):
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)

    @staticmethod
    def missing():
        """Why there can be none here; None if there can."""
        folder = tempfile.mkdtemp(dir="/tmp")
        try:
            Disk(folder).remove()
        except (OSError, subprocess.CalledProcessError) as error:
            return f"mounts are not permitted here: {(getattr(error, 'stderr', None) or str(error).encode()).decode().strip()[:200]}"
        finally:
            os.rmdir(folder)
        return None


class Server:
    """One PostgreSQL, on a socket in its folder and, for the networks of `allow`, at the addresses of `listen`, port 5432. Its folder goes with `remove`.

    `standby_of` is what it follows: {"host": …, "port": …}, such as a server's `place`. With `own_disk` all of it is on a file system of
    its own, `disk`. `data` is what another one left, which stays with that one.
    """

    def __init__(self, *settings, standby_of=None, folder=None, listen="", allow=None, own_disk=False, data=None):
        self.bin = pathlib.Path(FOLDERS[-1])
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.disk = Disk(self.folder) if own_disk else None
        self.data = data or self.folder / "data"
        self.socket = self.folder / ".s.PGSQL.5432"
        self.settings = list(settings)
        self.listen = listen
        self.as_user = []
        self.popen = None
        try:
            self._make(standby_of, allow, is_there=data is not None)
        except BaseException:
            self.remove()
            raise

    def _make(self, standby_of, allow, is_there):
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.password = self.folder / "password"
        self.password.write_text(PASSWORD + "\n")
        self.password.chmod(0o644)
        if not is_there:
            self._make_data(standby_of)
        if allow is not None:
            with open(self.data / "pg_hba.conf", "a") as rules:
                rules.write(f"host all all {allow} scram-sha-256\n")
        self.start()

    def _make_data(self, standby_of):
        if standby_of is None:
            self._run("initdb", "-D", self.data, "-U", "admin", "-A", "scram-sha-256", "-N", "--pwfile", self.password,
                      "--locale=C.UTF-8", "-E", "UTF8")
        else:
            self._run("pg_basebackup", "-D", self.data, "-R", "-c", "fast", "-d", " ".join(
                f"{key}={value}" for key, value in {**standby_of, "user": "admin", "password": PASSWORD, "application_name": "standby"}.items()))

    def _run(self, program, *args):
        done = subprocess.run([*self.as_user, self.bin / program, *args], capture_output=True, text=True, check=False,
                              env={**os.environ, "PGPASSWORD": PASSWORD})
        if done.returncode != 0:
            raise AssertionError(f"{program}: {done.stderr}")
        return done.stdout

    def start(self, wait=True):
        log = open(self.folder / "log", "ab")
        self.popen = subprocess.Popen(
            [*self.as_user, self.bin / "postgres", "-D", self.data, "-k", self.folder, "-h", self.listen, "-c", "max_connections=40",
             "-c", "shared_buffers=16MB", *[word for setting in self.settings for word in ("-c", setting)]],
            stdout=log, stderr=log)
        log.close()
        if wait:
            self.come_back()
        return self

    def come_back(self):
        """It may have ended, or be about to: it is started as often as need be, as whatever watches over servers does. None starts while a
        backend of one that was killed has yet to notice."""
        def back():
            if self.popen.poll() is not None:
                self.start(wait=False)
            return self.answers()
        try:
            wait_until("PostgreSQL to answer", back, step=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.log[-3000:]}") from None

    def answers(self):
        return self.sql("SELECT 1", check=False).returncode == 0

    def stop(self, number=signal.SIGINT):
        """SIGINT ends it in order, SIGQUIT as a crash does."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.wait(30)

    def kill(self):
        """As the kernel, or a node's loss, would: the server and all its backends at once."""
        for pid in [self.popen.pid, *self.processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait(30)

    def processes(self):
        """All processes under the server."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.popen.pid)], capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]

    def signal_all(self, number):
        for pid in [self.popen.pid, *self.processes()]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def backends(self):
        """Of gateways."""
        rows = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'finetune-gateway%'", check=False).stdout
        return [int(word) for word in rows.split()]

    def promote(self):
        self.sql("SELECT pg_promote(true, 30)")
        wait_until("the standby to be the primary", lambda: self.sql("SELECT pg_is_in_recovery()", check=False).stdout.strip() == "f")

    def snapshot(self, name):
        """The data as a volume's snapshot has it: of one moment. The server must not run, or be stopped by SIGSTOP."""
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([*self.as_user, "cp", "-a", self.data, target], check=True)
        (target / "postmaster.pid").unlink(missing_ok=True)

    def put_back(self, name):
        """The server must not run. What it had until now is in `put_aside`."""
        shutil.rmtree(self.put_aside, ignore_errors=True)
        self.data.rename(self.put_aside)
        subprocess.run([*self.as_user, "cp", "-a", self.folder / name, self.data], check=True)

    @property
    def put_aside(self):
        return self.folder / "put-aside"

    def sql(self, text, database="postgres", check=True, timeout=30):
        return subprocess.run(
            [self.bin / "psql", "-h", self.folder, "-U", "admin", "-d", database, "-At", "-v", "ON_ERROR_STOP=1", "-c", text],
            check=check, capture_output=True, text=True, timeout=timeout, env={**os.environ, "PGPASSWORD": PASSWORD})

    @property
    def place(self):
        return {"host": self.folder, "port": 5432}

    @property
    def url(self):
        return f"postgresql://admin@{urllib.parse.quote(str(self.folder), safe='')}/postgres"

    @property
    def flags(self):
        return ["--store", self.url, "--store_password_file", self.password]

    @property
    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def remove(self):
        if self.popen is not None and self.popen.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.stop(signal.SIGQUIT)
        if self.disk is not None:
            self.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
