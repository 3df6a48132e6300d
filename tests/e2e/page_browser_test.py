"""The pages in a real browser: Debian's chromium, headless, driven from Node.js."""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import unittest
import uuid

import fleet_world
from harness import SOURCE, Emulator, EndToEnd, State, job, svc, wait_until

HERE = SOURCE / "tests/e2e/browser"


class InABrowser(EndToEnd):
    @classmethod
    def setUpClass(cls):
        if not pathlib.Path("/usr/bin/chromium").exists():
            raise unittest.SkipTest("chromium is missing: deploy/packages.sh browser installs it")
        cls.home = pathlib.Path(os.environ["FINETUNE_BIN"]) / "browser"
        shutil.copytree(HERE, cls.home, dirs_exist_ok=True)
        subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], cwd=cls.home, check=True, timeout=240)

    def play(self, file, scenario, **given):
        done = subprocess.run(["node", self.home / "play.js", file, scenario, json.dumps(given)],
                              capture_output=True, text=True, timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        if said:
            print(f"{scenario}: {said}")
        return said


class GatewayPage(InABrowser):
    def start(self, jobs=0, *args):
        self.emulator = self.start_emulator("--list_size", str(jobs), "--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(self.emulator, "--active_poll_interval", "100ms", "--idle_poll_interval", "100ms", *args).ready()
        self.emulator.call("POST", "/emulator/settings", {"webhook_url": self.gateway.webhook_url})

    def see(self, scenario, jobs=0, **more):
        self.start(jobs)
        return self.play("gateway_page.js", scenario, admin=self.gateway.admin_url, emulator=self.emulator.url, **more)

    def test_a_change_is_seen_within_a_second(self):
        self.see("live")

    def test_trouble_with_segmind_is_told(self):
        self.see("trouble")

    def test_a_break_is_told_and_resumed_from(self):
        self.see("breakAndResume")

    def test_nobody_looks_and_it_lets_go(self):
        self.see("unseen")

    def test_ten_thousand_jobs_do_not_stall_it(self):
        self.see("manyJobs", jobs=10_000)

    def test_narrow_and_dark_screens_and_what_axe_finds(self):
        self.see("screens")

    def test_the_keyboard_is_enough(self):
        self.see("keyboard")

    def test_lines_to_type_are_copied(self):
        self.see("copies")

    def test_other_sites_read_nothing_of_it(self):
        self.see("otherSites")


class Pictures(InABrowser):
    """Those of the README, from a real run: FINETUNE_PICTURES=deploy/pictures, and this class."""

    MODELS = (("FAST_FLUX", "subject"), ("FLUX", "FLUX"), ("QWEN", "QWEN"))
    JOBS = (("cats", "art"), ("sneakers-autumn", "shop"), ("brand-mascot", "brand"), ("city-lights", "art"), ("watch-faces", "shop"),
            ("portraits-b", "press"), ("ceramics", "shop"), ("skyline", "press"), ("mascot-winter", "brand"), ("portraits-a", "press"),
            ("tea-set", "shop"), ("graffiti", "art"))

    @unittest.skipUnless(os.environ.get("FINETUNE_PICTURES"), "makes pictures, and tests nothing")
    def test_pictures(self):
        emulator = self.start_emulator("--check_datasets=false", time_scale=60)
        gateway = self.start_gateway(emulator).ready()
        emulator.call("POST", "/emulator/settings", {"webhook_url": gateway.webhook_url, "stage_seconds": {"TRAINING_INITIATED": 900}})
        emulator.fault("lifecycle", "fail", stage="TRAINING_COMPLETED", message="CUDA out of memory", job="portraits")
        count = lambda *states: sum(each.state in states for each in gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=20).fine_tunes)
        for i, (name, team) in enumerate(self.JOBS):
            wanted = job(name=name, labels={"team": team})
            wanted.base_model, wanted.theme = self.MODELS[i % 3]
            gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=wanted), timeout=20)
            if i in (4, 8):
                wait_until("these to end", lambda: count(State.AVAILABLE, State.FAILED) == i + 1, seconds=120)
        wait_until("the last to be trained", lambda: count(State.TRAINING) == 3, seconds=60)
        self.play("gateway_page.js", "pictures", admin=gateway.admin_url, folder=os.environ["FINETUNE_PICTURES"], job="skyline")


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class FleetPage(InABrowser):
    def test_a_fleets_replicas_and_what_one_that_is_cut_off_knows(self):
        emulator = Emulator(self.folder, "--check_datasets=false", time_scale=0)
        self.processes.append(emulator)
        world = fleet_world.FleetWorld(self.folder, emulator)
        self.addCleanup(world.end)
        world.start_all()
        leader = wait_until("a leader", lambda: next((r for r in world.replicas if r.metrics().get("finetune_gateway_leader") == 1), None))
        shown = world.replicas[(leader.number + 1) % 3]
        wait_until("all members", lambda: len(shown.status().replicas) == 3)
        pictures = pathlib.Path(os.environ.get("FINETUNE_PICTURES", self.folder))
        # The browser says when.
        (pictures / "cut").unlink(missing_ok=True)
        cutting = threading.Thread(target=lambda: (wait_until("the cut", (pictures / "cut").exists, seconds=200), shown.database.cut()))
        cutting.start()
        self.play("gateway_page.js", "fleet", admin=shown.gateway.admin_url, replica=f"replica-{shown.number}", leader=f"replica-{leader.number}",
                  folder=str(pictures))
        cutting.join()


class EmulatorPage(InABrowser):
    def see(self, scenario):
        self.play("emulator_page.js", scenario, emulator=self.start_emulator("--check_datasets=false", time_scale=0).url)

    def test_jobs_faults_and_the_time_are_turned_by_clicks(self):
        self.see("clicks")

    def test_narrow_and_dark_screens_and_what_axe_finds(self):
        self.see("screens")


if __name__ == "__main__":
    unittest.main()
