"""The view of a watch, without a network: what is told, how often, and in which order."""

import random
import unittest

import grpc

from finetune_gateway import errors
from finetune_gateway.v1 import Change, FineTune, Heartbeat, Restart, Synced, WatchFineTunesResponse
from finetune_gateway.watching import EventKind, Subscriber, WatchView


def change(kind, name, revision, state=FineTune.QUEUED, token=""):
    return WatchFineTunesResponse(
        change=Change(type=kind, fine_tune=FineTune(name=name, revision=revision, state=state)), revision=revision, resume_token=token)


def synced(revision):
    return WatchFineTunesResponse(synced=Synced(), revision=revision, resume_token=f"t{revision}")


def restart(reason):
    return WatchFineTunesResponse(restart=Restart(reason=reason))


class Told:
    def __init__(self, view, names=(), where=None):
        self.subscriber = Subscriber(names, where, lambda: None)
        view.add(self.subscriber)

    def all(self):
        told = []
        while (event := self.subscriber.next()) is not None:
            told.append((event.kind.value, event.fine_tune.name if event.fine_tune else "", event.revision))
        return told


class Watching(unittest.TestCase):
    def setUp(self):
        self.view = WatchView()

    def feed(self, *responses):
        for response in responses:
            self.view.apply(response)

    def begin(self):
        self.feed(change(Change.SNAPSHOT, "a", 1), change(Change.SNAPSHOT, "b", 2), synced(2))

    def test_the_snapshot_then_synced_then_changes(self):
        told = Told(self.view)
        self.begin()
        self.feed(change(Change.UPDATED, "a", 3, token="t3"), change(Change.CREATED, "c", 4, token="t4"))
        self.assertEqual(told.all(), [("snapshot", "b", 2), ("synced", "", 0), ("created", "a", 3), ("created", "c", 4)])

    def test_one_who_reads_at_once_is_told_each_change(self):
        told = Told(self.view)
        self.begin()
        self.assertEqual(told.all(), [("snapshot", "a", 1), ("snapshot", "b", 2), ("synced", "", 0)])
        self.feed(change(Change.UPDATED, "a", 3, token="t3"))
        self.feed(change(Change.UPDATED, "a", 3, token="t3"))
        self.assertEqual(told.all(), [("updated", "a", 3)])
        self.assertEqual(self.view.request().resume_token, "t3")

    def test_a_late_subscriber_gets_what_is_known(self):
        self.begin()
        self.assertEqual(Told(self.view, names=["b"]).all(), [("snapshot", "b", 2), ("synced", "", 0)])

    def test_a_slow_one_has_one_event_a_job_waiting(self):
        told = Told(self.view)
        self.begin()
        told.all()
        for revision in range(3, 1000):
            self.feed(change(Change.UPDATED, "ab"[revision % 2], revision, token=f"t{revision}"))
        self.assertEqual(told.all(), [("updated", "a", 998), ("updated", "b", 999)])

    def test_a_job_that_came_and_went_unseen_is_not_told(self):
        told = Told(self.view, where=lambda job: job.state == FineTune.QUEUED)
        self.begin()
        told.all()
        self.feed(change(Change.CREATED, "c", 3, token="t3"), change(Change.UPDATED, "c", 4, FineTune.FAILED, token="t4"))
        self.assertEqual(told.all(), [])
        self.feed(change(Change.UPDATED, "a", 5, FineTune.FAILED, token="t5"))
        self.assertEqual(told.all(), [("left", "a", 5)])
        self.feed(change(Change.UPDATED, "a", 6, FineTune.TRAINING, token="t6"))
        self.assertEqual(told.all(), [])

    def test_a_restart_tells_the_differences_alone(self):
        told = Told(self.view)
        self.begin()
        told.all()
        for reason in (Restart.EXPIRED, Restart.OTHER_HISTORY):
            with self.subTest(reason):
                self.feed(restart(reason))
                self.assertEqual(self.view.request().resume_token, "")
                self.feed(change(Change.SNAPSHOT, "a", 1), change(Change.SNAPSHOT, "b", 2), synced(2))
                self.assertEqual(told.all(), [])
        self.feed(restart(Restart.EXPIRED), change(Change.SNAPSHOT, "b", 7), change(Change.SNAPSHOT, "c", 8), synced(8))
        self.assertEqual(told.all(), [("left", "a", 1), ("updated", "b", 7), ("created", "c", 8)])

    def test_after_a_resume_the_first_heartbeat_is_synced(self):
        self.view._token = "t5"
        told = Told(self.view)
        self.feed(WatchFineTunesResponse(heartbeat=Heartbeat(), resume_token="t5"))
        self.assertEqual(told.all(), [("synced", "", 0)])

    def test_what_trying_again_cannot_cure_ends_the_watch(self):
        told = Told(self.view)
        error = errors.make(grpc.StatusCode.PERMISSION_DENIED, "no", reason="ROLE_NOT_ALLOWED")
        self.assertTrue(self.view.failed(errors.make(grpc.StatusCode.UNAVAILABLE, "away"), False))
        self.assertTrue(self.view.failed(errors.make(grpc.StatusCode.UNAUTHENTICATED, "token"), True))
        self.assertFalse(self.view.failed(error, True))
        with self.assertRaises(errors.PermissionDeniedError):
            told.subscriber.next()
        late = Told(self.view)
        with self.assertRaises(errors.PermissionDeniedError):
            late.subscriber.next()

    def test_random_histories_leave_every_subscriber_with_the_truth(self):
        for seed in range(300):
            chance = random.Random(seed)
            view, truth, revision = WatchView(), {}, 0
            subscribers = [Told(view), Told(view, where=lambda job: job.state == FineTune.TRAINING)]
            known = [{} for _ in subscribers]
            read = lambda: [self.note(told, seen) for told, seen in zip(subscribers, known)]  # noqa: E731
            for response in (synced(0),):
                view.apply(response)
            for _ in range(60):
                dice = chance.random()
                if dice < 0.8:
                    revision += 1
                    name = chance.choice("abcdef")
                    kind = Change.UPDATED if name in truth else Change.CREATED
                    truth[name] = (revision, chance.choice((FineTune.QUEUED, FineTune.TRAINING)))
                    view.apply(change(kind, name, revision, truth[name][1], token=f"t{revision}"))
                elif dice < 0.9:
                    view.apply(restart(Restart.EXPIRED))
                    for name, (at, state) in truth.items():
                        view.apply(change(Change.SNAPSHOT, name, at, state))
                    view.apply(synced(revision))
                if chance.random() < 0.3:
                    read()
            read()
            self.assertEqual(known[0], {name: at for name, (at, _) in truth.items()})
            self.assertEqual(known[1], {name: at for name, (at, state) in truth.items() if state == FineTune.TRAINING})

    def note(self, told, seen):
        while (event := told.subscriber.next()) is not None:
            if event.kind is EventKind.LEFT:
                del seen[event.fine_tune.name]
            elif event.kind is not EventKind.SYNCED:
                self.assertGreater(event.revision, seen.get(event.fine_tune.name, 0))
                seen[event.fine_tune.name] = event.revision


if __name__ == "__main__":
    unittest.main()
