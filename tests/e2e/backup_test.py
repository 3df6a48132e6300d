"""A snapshot of the record's volume, taken while the gateway works, restores the same jobs and revisions."""

import shutil
import signal
import subprocess
import unittest
import uuid

from harness import EndToEnd, ft, job, svc, wait_until


class Backup(EndToEnd):
    def create(self, gateway, request_id):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job("https://data.example/cats.zip", labels={"team": "search"}), request_id=request_id), timeout=20)

    def jobs(self, gateway):
        listed = gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1000, view=svc.FINE_TUNE_VIEW_FULL), timeout=20)
        return {f.name: f.SerializeToString(deterministic=True) for f in listed.fine_tunes}

    def known_fully(self, gateway, count):
        """Whether all jobs, the one that was just made aside, are there with their details, so that nothing changes any more."""
        listed = gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1000), timeout=20).fine_tunes
        return len(listed) == count and sum(1 for f in listed if f.slug) >= count - 1

    def test_a_backup_of_a_running_gateway_is_its_record(self):
        emulator = self.start_emulator("--list_size", "50", time_scale=0)
        gateway = self.start_gateway(emulator).ready()
        kept = str(uuid.uuid4())
        made = self.create(gateway, kept)
        wait_until("all details", lambda: self.known_fully(gateway, 51))
        # The volume at one moment, as a VolumeSnapshot has it, while nothing changes.
        backup = self.folder / "snapshot"

        def copied():
            before = self.jobs(gateway)
            shutil.rmtree(backup, ignore_errors=True)
            backup.mkdir()
            gateway.popen.send_signal(signal.SIGSTOP)
            for file in self.folder.glob("store.db*"):
                shutil.copy2(file, backup)
            gateway.popen.send_signal(signal.SIGCONT)
            return before if self.jobs(gateway) == before else None

        before = wait_until("a moment without changes", copied)
        self.assertTrue((backup / "store.db-wal").stat().st_size > 0)
        gateway.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, labels={"team": "later"}), update_mask={"paths": ["labels"]}), timeout=20)
        self.assertEqual(gateway.terminate(), 0)

        for file in self.folder.glob("store.db*"):
            file.unlink()
        for file in backup.iterdir():
            shutil.copy2(file, self.folder)
        checked = subprocess.run(["sqlite3", self.folder / "store.db", "PRAGMA integrity_check"], capture_output=True, text=True, check=True)
        self.assertEqual(checked.stdout, "ok\n")
        # Without a Segmind from which it could learn anything.
        restored = self.start_gateway("http://127.0.0.1:9").ready()
        self.assertEqual(self.jobs(restored), before)
        # Whoever repeats a submission from before the backup gets its job, not a second one.
        self.assertEqual(self.create(restored, kept).name, made.name)
        self.assertEqual(len(emulator.submits()), 1)


if __name__ == "__main__":
    unittest.main()
