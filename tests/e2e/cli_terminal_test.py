"""What a person sees of the command line: in a real pseudo-terminal of 40, 80 and 200 columns, with poor ones and strict locales."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata
import unittest

from harness import BIN, EndToEnd, ft, job, svc, upload

WIDTHS = (40, 80, 200)


def columns_of(text):
    """How many columns a terminal gives to the text."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def plain(text):
    """Without colours."""
    return re.sub(r"\x1b\[\d+m", "", text)


class Screen:
    """What stands on a terminal's lines in the end, of a text with carriage returns; and how wide any line ever was."""

    def __init__(self, text):
        self.lines, self.widest = [], 0
        for line in text.split("\n"):
            shown = ""
            for part in line.rstrip("\r").split("\r"):
                self.widest = max(self.widest, columns_of(part))
                shown = part + shown[len(part):]
            self.lines.append(shown.rstrip())


class Terminal(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator()
        self.gateway = self.start_gateway(self.emulator).ready()
        self.uri = upload(self.gateway.stub, self.folder)

    def start(self, *args, columns=80, env=None):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})}
        process = subprocess.Popen([str(a) for a in (BIN / "finetune", "--server", self.gateway.address, *args)], cwd=self.folder,
                                   stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.addCleanup(lambda: (process.kill(), process.wait(), os.close(ours)))
        return process, ours

    def read(self, terminal, until=None, seconds=60):
        shown, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # The other end is closed.
                break
            if until and until.encode() in shown:
                break
        return shown.decode(errors="surrogateescape")

    def run_in(self, *args, columns=80, env=None):
        process, terminal = self.start(*args, columns=columns, env=env)
        text = self.read(terminal)
        return process.wait(30), text

    def submit(self, name="cats", **more):
        return self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(self.uri, name=name, **more), request_id=f"11111111-2222-4333-8444-{abs(hash(name)) % 10**12:012d}"), timeout=20)

    def test_tables_fit_each_width(self):
        self.submit("a job with quite a long name that somebody gave to it")
        self.submit("größer 猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫")
        self.submit("\u202egpj.exe\u200b")
        for columns in WIDTHS:
            for command in (("list",), ("get", "größer 猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫"), ("status",)):
                with self.subTest(command[0], columns=columns):
                    code, text = self.run_in(*command, columns=columns)
                    self.assertEqual(code, 0, text)
                    if command[0] == "list":
                        self.assertLessEqual(Screen(plain(text)).widest, columns, text)
                        self.assertTrue(plain(text).startswith("NAME"), text)
                    self.assertNotIn("\u202e", text)
                    self.assertNotIn("\u200b", text)

    def test_an_empty_list_says_so(self):
        self.assertIn("There are no jobs.", self.run_in("list")[1])
        self.assertIn("No jobs match.", self.run_in("list", "--filter", "state = FAILED")[1])

    def test_progress_is_one_line_that_fits_and_goes_away(self):
        for columns in WIDTHS:
            with self.subTest(columns=columns):
                made = self.submit(f"a job with quite a long name for {columns} columns")
                code, text = self.run_in("wait", made.name, columns=columns)
                self.assertEqual(code, 0, text)
                # Up to where the page of the job begins; its lines may be longer.
                before = plain(text).split("name  ")[0]
                self.assertLessEqual(Screen(before).widest, columns, text)
                self.assertFalse([line for line in Screen(before).lines if "waiting for" in line], before)
                self.assertIn("a job with", text, "progress calls the job by its name")
                self.assertNotIn("\x1b[K", text)

    def test_a_dumb_terminal_gets_plain_lines(self):
        made = self.submit("plain")
        code, text = self.run_in("wait", made.name, env={"TERM": "dumb"})
        self.assertEqual(code, 0, text)
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\r", text.replace("\r\n", "\n"))
        self.assertIn("AVAILABLE", text)

    def test_no_color_means_none_and_a_plain_locale_means_ascii(self):
        self.submit("größer")
        for command in (("list",), ("wait", "größer"), ("get", "größer")):
            with self.subTest(command=command):
                code, text = self.run_in(*command, env={"NO_COLOR": "1"})
                self.assertEqual(code, 0, text)
                self.assertNotIn("\x1b", text)
                code, text = self.run_in(*command, env={"LC_ALL": "C"})
                self.assertEqual(code, 0, text)
                self.assertTrue(text.isascii(), text)
                self.assertIn(r"gr\u00f6\u00dfer", text)
        self.assertIn("\x1b[32m", self.run_in("list")[1])

    def test_times_say_their_zone(self):
        made = self.submit("zone")
        self.assertRegex(plain(self.run_in("get", made.name, env={"TZ": "Europe/Berlin"})[1]), r"created +\S+ \S+ CES?T")
        self.assertRegex(plain(self.run_in("get", made.name, "--utc", env={"TZ": "Europe/Berlin"})[1]), r"created +\S+ \S+ UTC")

    def test_ctrl_c_in_a_wait_says_that_the_job_goes_on(self):
        self.gateway.terminate()
        self.processes.remove(self.gateway)
        emulator = self.start_emulator(time_scale=1)
        self.gateway = self.start_gateway(emulator).ready()
        self.uri = upload(self.gateway.stub, self.folder, "slow.zip")
        made = self.submit("slow")
        process, terminal = self.start("wait", made.name)
        self.read(terminal, until="waiting for")
        process.send_signal(signal.SIGINT)
        text = self.read(terminal)
        self.assertEqual(process.wait(20), 130)
        self.assertIn("The job goes on; to wait on: finetune wait " + made.name.split("/")[1], text)

    def test_a_gateway_that_is_away_is_told_once_and_waited_for(self):
        self.submit("watched")
        process, terminal = self.start("watch")
        self.read(terminal, until="SNAPSHOT")
        port = self.gateway.address.rsplit(":", 1)[1]
        self.gateway.terminate()
        told = self.read(terminal, until="The gateway is away")
        time.sleep(3)  # Long enough for several tries, all of which are quiet.
        self.processes.remove(self.gateway)
        self.gateway.close()
        self.gateway = self.start_gateway(self.emulator, "--listen", f"127.0.0.1:{port}")
        told += self.read(terminal, until="Connected again")
        self.assertEqual(told.count("The gateway is away"), 1, told)
        self.assertIn("Connected again.", told)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 130)

    def test_a_list_goes_on_with_every_change(self):
        made = self.submit("first")
        for command in (("list", "-w"), ("get", "first", "-w")):
            with self.subTest(command=command):
                process, terminal = self.start(*command)
                self.assertIn("first", self.read(terminal, until="watching"))
                change = svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=made.name))
                change.update_mask.paths.append("visibility")
                # Until one of them falls into the watch, which shows what happens from its beginning on.
                for i in range(60):
                    change.fine_tune.visibility = ft.FineTune.PUBLIC if i % 2 else ft.FineTune.PRIVATE
                    self.gateway.stub.UpdateFineTune(change, timeout=20)
                    self.submit(f"{command[0]} {i}")
                    if "UPDATED" in self.read(terminal, until="UPDATED", seconds=0.5):
                        break
                else:
                    self.fail("no change was shown")
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(20), 130)

    def test_errors_speak_of_flags_once_each(self):
        code, text = self.run_in("create", "--name", "x", "--data", "nonsense", "--trigger", "TOK", "--prompt", "a dog")
        self.assertEqual(code, 2, text)
        self.assertNotIn("fine_tune.", text)
        self.assertIn("--data", text)
        self.assertIn("warning: the trigger word `TOK` is not in the prompt", text)
        for line in text.splitlines():
            self.assertEqual(text.splitlines().count(line), 1, text)

    def test_machines_get_one_json_a_line_and_no_more(self):
        self.submit("one")
        self.submit("two")
        done = subprocess.run([str(BIN / "finetune"), "--server", self.gateway.address, "list", "-o", "json"], capture_output=True, text=True, timeout=30)
        self.assertEqual([json.loads(line)["displayName"] for line in done.stdout.splitlines()], ["two", "one"])
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
