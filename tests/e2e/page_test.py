"""The page's door without a browser: events, resuming, bounds, what it refuses, and what it costs."""

import http.client
import json
import os
import socket
import time
import unittest
import urllib.parse
import uuid

from harness import EndToEnd, State, job, svc, wait_until

MOST_PAGES = 20


class Events:
    """A watcher of the page's stream, as a browser is one."""

    def __init__(self, gateway, resume=None, path="/page/events"):
        where = urllib.parse.urlparse(gateway.admin_url)
        self.connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        self.connection.request("GET", path, headers={"Last-Event-ID": resume} if resume else {})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.token = resume

    def next(self):
        """The next event's name and data; None at the end."""
        event, data = None, None
        while True:
            line = self.answer.readline().decode()
            if not line:
                return None
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data = json.loads(value)
            elif name == "id":
                self.token = value
            elif not name:
                return event, data

    def until(self, wanted):
        """The events up to the first of this name, which comes last."""
        events = []
        while not events or events[-1][0] != wanted:
            event = self.next()
            assert event is not None, f"the stream ended before {wanted}"
            events.append(event)
        return events

    def until_of(self, name, **labels):
        """The first change of this job, with these labels."""
        while True:
            job = self.until("change")[-1][1]["change"]["fineTune"]
            if job["name"] == name and labels.items() <= job.get("labels", {}).items():
                return job

    def close(self):
        self.answer.close()
        self.connection.close()


def cpu_seconds(process):
    """What a process has used so far."""
    with open(f"/proc/{process.popen.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Page(EndToEnd):
    def start(self, *args, jobs=0, **more):
        self.emulator = self.start_emulator("--list_size", str(jobs), "--check_datasets=false", time_scale=0)
        return self.start_gateway(self.emulator, *args, **more).ready()

    def request(self, gateway, path, method="GET", **headers):
        where = urllib.parse.urlparse(gateway.admin_url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer, body

    def test_a_change_is_told_at_once_and_a_break_loses_nothing(self):
        gateway = self.start(jobs=3)
        self.emulator.call("POST", "/emulator/settings", {"webhook_url": gateway.webhook_url})
        events = Events(gateway)
        first = events.until("synced")
        self.assertEqual([d["change"]["type"] for e, d in first if e == "change"], ["SNAPSHOT"] * 3)
        status = next(d["status"] for e, d in events.until("status") if e == "status")
        self.assertEqual((status["upstreamState"], status["fineTuneCount"]), ("HEALTHY", "3"))
        self.assertNotIn("caller", status)
        made = gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job()), timeout=20)
        events.until_of(made.name)
        events.close()
        # Missed, and made up for.
        upstream = next(j["id"] for j in self.emulator.jobs() if j["status"] == "REQUESTED")
        self.emulator.call("POST", f"/emulator/jobs/{upstream}", {"status": "TRAINING"})
        wait_until("the gateway to know", lambda: gateway.stub.GetFineTune(
            svc.GetFineTuneRequest(name=made.name), timeout=5).state == State.TRAINING)
        resumed = Events(gateway, events.token)
        told = [d["change"] for e, d in resumed.until("heartbeat") if e == "change"]
        self.assertNotIn("SNAPSHOT", [change["type"] for change in told])
        mine = [change["fineTune"] for change in told if change["fineTune"]["name"] == made.name]
        self.assertEqual(mine[-1]["state"], "TRAINING")
        resumed.close()
        _, text = self.request(gateway, "/page/jobs/" + made.name.split("/")[1])
        self.assertIn("TRAINING", [step["state"] for step in json.loads(text)["transitions"]])

    def test_a_stream_ends_with_the_gateway_and_goes_on_with_the_next(self):
        gateway = self.start(jobs=3)
        events = Events(gateway)
        events.until("synced")
        gateway.terminate()
        while events.next():
            pass
        again = self.start_gateway(self.emulator).ready()
        resumed = Events(again, events.token)
        self.assertNotIn("restart", [e for e, _ in resumed.until("heartbeat")])
        resumed.close()
        lost = Events(again, "no token of ours")
        self.assertEqual([e for e, _ in lost.until("synced") if e != "status"], ["restart"] + ["change"] * 3 + ["synced"])
        self.assertTrue(lost.token)
        lost.close()

    def test_pages_that_read_nothing_are_cut_and_the_door_answers_meanwhile(self):
        gateway = self.start(jobs=10_000)
        wait_until("all jobs", lambda: "fine_tunes 10000" in gateway.admin("/metrics")[1].replace(".0", ""))
        where = urllib.parse.urlparse(gateway.admin_url)
        deaf = []
        for _ in range(MOST_PAGES):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((where.hostname, where.port))
            connection.send(b"GET /page/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            deaf.append(connection)
            self.addCleanup(connection.close)
        watchers = lambda: gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20).watcher_count
        wait_until("all to watch", lambda: watchers() == MOST_PAGES)
        refused = Events(gateway)
        self.assertEqual(refused.status, 503)
        self.assertIn("20", refused.answer.read().decode())
        refused.close()
        slowest = 0
        while watchers() > 0:
            for path in ("/livez", "/readyz", "/metrics", "/"):
                began = time.monotonic()
                self.assertEqual(gateway.admin(path)[0], 200)
                slowest = max(slowest, time.monotonic() - began)
        print(f"20 pages that read nothing: the slowest answer of the admin door took {slowest * 1000:.0f} ms")
        self.assertLess(slowest, 5)
        # There is room again.
        events = Events(gateway)
        events.until("synced")
        events.close()

    def test_only_pages_of_its_own_and_only_reads(self):
        gateway = self.start()
        answer, body = self.request(gateway, "/")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("frame-ancestors 'none'", answer.headers["Content-Security-Policy"])
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(self.request(gateway, "/", if_none_match=answer.headers["ETag"])[0].status, 304)
        for path in ("/", "/page/events", "/page/jobs/a"):
            self.assertEqual(self.request(gateway, path, "POST")[0].status, 405)
            self.assertEqual(self.request(gateway, path, host="evil.example")[0].status, 421)
            self.assertEqual(self.request(gateway, path, sec_fetch_site="cross-site")[0].status, 403)
            self.assertNotIn("Access-Control-Allow-Origin", self.request(gateway, path, "HEAD", origin="http://evil.example")[0].headers)
        for secret in ("e2e-key", "e2e-webhook"):
            self.assertNotIn(secret, body)

    def test_beside_a_policy_there_is_no_page_unless_asked(self):
        policy = self.folder / "policy.json"
        policy.write_text(json.dumps({"callers": [{"name": "a", "role": "VIEWER", "bearer_token_sha256": ["00" * 32]}]}))
        gateway = self.start("--policy_file", policy)
        self.assertEqual(gateway.admin("/")[0], 404)
        self.assertEqual(gateway.admin("/page/events")[0], 404)
        gateway.terminate()
        asked = self.start_gateway(self.emulator, "--policy_file", policy, "--page", "--page_hosts=gateway.example").ready()
        self.assertEqual(asked.admin("/")[0], 200)
        self.assertEqual(self.request(asked, "/", host="gateway.example:443")[0].status, 200)

    def test_what_pages_cost(self):
        gateway = self.start(jobs=1000, *["--idle_poll_interval", "1h", "--active_poll_interval", "1h"])
        count = int(os.environ.get("FINETUNE_PAGE_CHANGES", "300"))
        job_name = gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1), timeout=20).fine_tunes[0].name

        def changes():
            """The CPU of so many changes, each made by an update."""
            before = cpu_seconds(gateway)
            for i in range(count):
                update = svc.UpdateFineTuneRequest(fine_tune={"name": job_name, "labels": {"round": str(i)}})
                update.update_mask.paths.append("labels")
                gateway.stub.UpdateFineTune(update, timeout=20)
            return cpu_seconds(gateway) - before

        # Until the gateway has read all that it wants of them.
        wait_until("all details", lambda: self.emulator.calls("details") >= 1000, seconds=120)
        changes()
        nobody = changes()
        cost = {}
        for pages in (1, MOST_PAGES):
            opened = cpu_seconds(gateway)
            streams = [Events(gateway) for _ in range(pages)]
            for stream in streams:
                stream.until("synced")
            opened = cpu_seconds(gateway) - opened
            cost[pages] = changes()
            for stream in streams:
                stream.until_of(job_name, round=str(count - 1))
                stream.close()
            print(f"{pages} pages: {opened / pages * 1000:.1f} ms of CPU to open one with 1,000 jobs; "
                  f"{(cost[pages] - nobody) / count / pages * 1e6:.0f} µs for each change and page "
                  f"(a change alone: {nobody / count * 1e6:.0f} µs)")
        # Idle pages: a look at the status each second.
        streams = [Events(gateway) for _ in range(MOST_PAGES)]
        for stream in streams:
            stream.until("synced")
        before, began = cpu_seconds(gateway), time.monotonic()
        streams[0].until("heartbeat")
        print(f"{MOST_PAGES} idle pages: {(cpu_seconds(gateway) - before) / (time.monotonic() - began) * 100:.2f} % of a CPU")
        for stream in streams:
            stream.close()
        # Twenty pages must not cost what a client could not pay itself.
        self.assertLess((cost[MOST_PAGES] - nobody) / count / MOST_PAGES, 0.002)


if __name__ == "__main__":
    unittest.main()
