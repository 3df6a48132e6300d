"""What the report says of targets, and when --quick fails: python3 tests/bench/report_test.py."""

import contextlib
import io
import types
import unittest

from report import Report


def section(values, at_most=True, bound=1.0, absolute=False, why=""):
    """One that measures these values, one a try."""
    left = list(values)
    return types.SimpleNamespace(TITLE="A title", left=left, measure=lambda report, options: report.limit(
        "a ratio", left.pop(0), bound, at_most, absolute, why))


def measured(quick, of):
    report = Report(quick)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        report.measure("calls", of, None)
    return report, out.getvalue()


class QuickTest(unittest.TestCase):
    def test_a_ratio_that_is_within_its_limit_is_measured_once(self):
        of = section([1.2, 1.0])
        report, _ = measured(True, of)
        self.assertEqual(len(of.left), 1)
        self.assertEqual(list(report.failures()), [])

    def test_a_ratio_beyond_its_limit_is_measured_again_and_the_best_counts(self):
        for at_most, values in ((True, [1.4, 1.3, 1.1]), (False, [0.5, 0.6, 0.9])):
            report, out = measured(True, section(values, at_most))
            self.assertEqual(list(report.failures()), [])
            self.assertIn("Try 2 of at most 3", out)
            self.assertIn(f"({'of ' + ', '.join(f'{value:.{2 if value >= 1 else 3}f}' for value in values)})", "\n".join(report.target_lines()))

    def test_a_ratio_that_is_beyond_its_limit_each_time_fails_with_all_tries(self):
        report, _ = measured(True, section([1.4, 1.3, 1.5]))
        [failure] = report.failures()
        self.assertIn("a ratio is 1.30", failure)
        self.assertIn("all tries: 1.40, 1.30, 1.50", failure)

    def test_times_and_sizes_never_fail_a_run(self):
        of = section([9.0, 9.0], absolute=True)
        report, _ = measured(True, of)
        self.assertEqual((len(of.left), list(report.failures())), (1, []))

    def test_a_section_that_ends_early_fails_the_run_and_is_not_tried_again(self):
        of = section([])
        report, _ = measured(True, of)
        [failure] = report.failures()
        self.assertIn("calls ended early", failure)

    def test_a_whole_run_measures_each_section_once_and_fails_by_no_target(self):
        of = section([9.0, 1.0])
        report, _ = measured(False, of)
        self.assertEqual((len(of.left), list(report.failures())), (1, []))

    def test_a_miss_is_listed_with_what_profiles_say_of_it(self):
        for values, why, lines in (([9.0], "All of it is gRPC's.", ["- **calls**, a ratio: 9.00, target ≤ 1.00. All of it is gRPC's."]),
                                   ([9.0], "", ["- **calls**, a ratio: 9.00, target ≤ 1.00. No profile explains it yet."]), ([0.5], "All.", [])):
            report, _ = measured(False, section(values, why=why))
            self.assertEqual([line for line in report.missed_lines() if line.startswith("- ")], lines)


if __name__ == "__main__":
    unittest.main()
