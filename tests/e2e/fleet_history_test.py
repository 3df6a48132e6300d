"""The account of what databases committed finds what must not be, and lets pass what a loss explains."""

import unittest

import fleet_history
from fleet_history import Change, Histories, History, Intent

PREPARED, UNKNOWN, ACCEPTED, REFUSED = 1, 2, 3, 5
LIMITS = {"spender": 2}


def change(number, term=1, writer=1, leader=1, era=1):
    return Change(number, float(number), f"{number:x}-{era:016x}", "job", f"finetune-gateway-{writer}", f"replica-{leader}", term)


def intent(number, who, state=PREPARED, seq=None, writer=1, at=None):
    return Intent(number, float(number if at is None else at), f"finetune-gateway-{writer}", number if seq is None else seq, "spender", who, state)


class Terms(unittest.TestCase):
    def test_an_old_term_writes_nothing_after_a_newer_one(self):
        self.assertEqual(Histories([], History([change(1), change(2, term=2), change(3, term=2)], [])).wrong, [])
        self.assertIn("in term 1", Histories([], History([change(1), change(2, term=2), change(3, term=1)], [])).wrong[0])

    def test_that_holds_in_each_history_by_itself(self):
        """A loss takes terms back with it."""
        begun = [change(1), change(2, term=2)]
        ended = History([*begun, change(3, term=3), change(4, term=4)], [])
        self.assertEqual(Histories([ended], History([*begun, change(5, term=3, era=2)], [])).wrong, [])
        self.assertNotEqual(Histories([History([*begun, change(3, term=1)], [])], History(begun, [])).wrong, [])

    def test_reads_are_written_by_who_led_then(self):
        histories = Histories([History([change(1), change(2, writer=2, era=7)], [])], History([change(1)], []))
        self.assertEqual(histories.check_writers({change(1).etag}), 1)
        self.assertEqual(histories.wrong, [])
        histories.check_writers({change(2, era=7).etag})
        self.assertIn("while replica-1 led", histories.wrong[0])

    def test_nobody_sees_what_was_never_committed(self):
        histories = Histories([], History([change(1)], []))
        histories.check_writers({change(1, era=3).etag})
        self.assertIn("no database ever had it", histories.wrong[0])

    def test_an_etag_names_one_change_in_all_histories(self):
        self.assertNotEqual(Histories([History([change(1, writer=2)], [])], History([change(1)], [])).wrong, [])

    def test_tells_what_was_lost(self):
        histories = Histories([History([change(1), change(2)], []), History([change(1), change(3, era=2)], [])], History([change(1)], []))
        self.assertEqual(histories.lost_changes, {change(2).etag, change(3, era=2).etag})
        self.assertEqual(histories.left.etags, {change(1).etag})


class Limits(unittest.TestCase):
    def wrong(self, ended, left, ends=()):
        histories = Histories([History([], intents) for intents in ended], History([], left))
        self.untold = histories.check_limits(LIMITS, ends)
        return histories.wrong

    def test_a_database_accepts_no_more_than_it_knows_to_be_allowed(self):
        two = [intent(1, "a"), intent(2, "a", ACCEPTED), intent(3, "b")]
        self.assertEqual(self.wrong([], two), [])
        self.assertIn("accepted c of spender", self.wrong([], [*two, intent(4, "c")])[0])

    def test_what_was_refused_counts_no_more(self):
        refused = [intent(1, "a"), intent(2, "b"), intent(3, "a", REFUSED)]
        self.assertEqual(self.wrong([], [*refused, intent(4, "c")]), [])
        self.assertEqual(self.wrong([], [*refused[:2], intent(3, "c", seq=3), intent(4, "a", REFUSED, seq=3)]), [], "in one commit, in any order")
        self.assertNotEqual(self.wrong([], [*refused, intent(4, "a"), intent(5, "c")]), [])

    def test_what_is_brought_back_may_be_beyond(self):
        self.assertEqual(self.wrong([], [intent(1, "a"), intent(2, "b"), intent(3, "c", UNKNOWN)]), [])

    def test_what_was_lost_is_brought_back_before_anything_new(self):
        lost = [intent(1, "a"), intent(2, "b")]
        self.assertEqual(self.wrong([lost], [intent(1, "a"), intent(12, "b", UNKNOWN)]), [])
        self.assertEqual(self.untold, set())
        self.assertIn("before finetune-gateway-1", self.wrong([lost], [intent(1, "a"), intent(11, "c"), intent(12, "b", UNKNOWN)])[0])
        self.assertIn("has 3 then", self.wrong([lost], [intent(1, "a"), intent(11, "c", seq=12), intent(12, "b", UNKNOWN, seq=12)])[0])

    def test_unless_nobody_is_left_who_knows(self):
        lost = [intent(1, "a"), intent(2, "b")]
        self.assertEqual(self.wrong([lost], [intent(1, "a"), intent(11, "c")], ends=[(1, 5.0)]), [])
        self.assertEqual(self.untold, {"b"})
        self.assertNotEqual(self.wrong([lost], [intent(1, "a"), intent(11, "c")], ends=[(2, 5.0)]), [], "another one ended")
        self.assertNotEqual(self.wrong([lost], [intent(1, "a"), intent(11, "c")], ends=[(1, 1.0)]), [], "it ended before")

    def test_a_second_loss_does_not_excuse_it(self):
        lost, begun = [intent(1, "a"), intent(2, "b")], [intent(1, "a"), intent(10, "z", REFUSED)]
        self.assertEqual(self.wrong([lost, [*begun, intent(11, "y", REFUSED)]], [*begun, intent(20, "b", UNKNOWN), intent(21, "a", ACCEPTED)]), [])
        self.assertIn("accepted c", self.wrong([lost, [*begun, intent(11, "y", REFUSED)]], [*begun, intent(20, "c"), intent(21, "b", UNKNOWN)])[0])
        self.assertIn("accepted c", self.wrong([lost, [*begun, intent(11, "b", UNKNOWN)]], [*begun, intent(20, "c"), intent(21, "b", UNKNOWN)])[0])

    def test_or_whoever_knows_stays_away_for_too_long(self):
        late = 10 + fleet_history.CAUTION_SECONDS
        lost = [intent(1, "a"), intent(2, "b")]
        self.assertEqual(self.wrong([lost], [intent(1, "a"), intent(10, "z", REFUSED), intent(11, "c", at=late), intent(12, "b", UNKNOWN)]), [])
        self.assertEqual(self.untold, {"b"})

    def test_what_came_to_nothing_need_not_come_back(self):
        lost = [intent(1, "a"), intent(2, "b"), intent(3, "b", REFUSED)]
        self.assertEqual(self.wrong([lost], [intent(1, "a"), intent(11, "c")]), [])


if __name__ == "__main__":
    unittest.main()
