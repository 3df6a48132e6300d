"""What the README says of flags, errors and calls is what there is."""

import json
import re
import subprocess
import unittest
import urllib.request

from harness import BIN, SOURCE, EndToEnd, recommended_service_config, svc

DEPLOY = (SOURCE / "deploy/README.md").read_text()
CLIENT = (SOURCE / "client/README.md").read_text()


class Docs(unittest.TestCase):
    def test_every_flag_stands_in_the_table_as_help_has_it(self):
        text = subprocess.run([BIN / "finetune-gateway", "--help"], capture_output=True, text=True, check=True).stdout
        flags = re.findall(r"^  --(\w+) \((.*)\)\n      (.*)$", text, re.M)
        self.assertGreater(len(flags), 20)
        rows = [f"| `--{name}` | {f'`{default}`' if default else '–'} | {meaning} |\n" for name, default, meaning in flags]
        table = "| flag | default | meaning |\n|---|---|---|\n" + "".join(rows)
        self.assertTrue(table in DEPLOY, f"the table of flags in deploy/README.md should be\n{table}")

    def test_every_error_reason_is_explained_to_callers(self):
        for reason in svc.ErrorReason.Reason.keys():
            if reason != "REASON_UNSPECIFIED":
                self.assertIn(f"`{reason}`", CLIENT)

    def test_every_call_has_an_example(self):
        for method in svc.DESCRIPTOR.services_by_name["FineTuneService"].methods:
            self.assertIn(f"| `{method.name}` |", CLIENT)

    def test_the_recommended_service_config_is_the_one_of_the_client_library(self):
        source = (SOURCE / "client/cpp/channel.cc").read_text()
        built_in = re.search(r'kServiceConfig\[\] = R"\((.*?)\)";', source, re.S).group(1)
        self.assertEqual(recommended_service_config(), json.loads(built_in))


    def test_the_table_of_capacity_is_what_the_simulation_says_and_that_what_was_measured(self):
        printed = subprocess.run([SOURCE / "tests/bench/simulate.py"], capture_output=True, text=True, check=False)
        self.assertEqual(printed.returncode, 0, printed.stderr)
        table = printed.stdout.split("\n\n")[0]
        self.assertGreater(table.count("\n"), 9)
        self.assertTrue(table in DEPLOY, f"the table of capacity in deploy/README.md should be\n{table}")


class TestsDocs(unittest.TestCase):
    ROWS = [f"{group}{i}" for group, count in (("A", 14), ("B", 32), ("C", 37), ("D", 13)) for i in range(1, count + 1)]

    def test_every_fault_is_shown_by_tests_that_there_are(self):
        table = re.findall(r"^\| ([ABCD]\d+) \| .* \| (.*) \|$", (SOURCE / "tests/README.md").read_text(), re.M)
        self.assertEqual([row for row, _ in table], self.ROWS)
        for row, tests in table:
            for test in re.findall(r"`([^`]+)`", tests):
                path, _, name = test.partition("::")
                text = (SOURCE / "tests" / path).read_text()
                if name and path.endswith(".py"):
                    self.assertIn(f"def {name}(", text, row)
                elif name:
                    suite, _, case = name.partition(".")
                    self.assertRegex(text, rf"\bTEST\w*\(\s*{suite},\s*{case}\)", row)


    def test_every_link_between_documents_leads_somewhere(self):
        documents = [p for p in SOURCE.rglob("*.md") if not any(part.startswith(".") or part in ("node_modules", "target") for part in p.parts[len(SOURCE.parts):])]
        self.assertGreater(len(documents), 8)
        for document in documents:
            text = document.read_text()
            for link in re.findall(r"\]\((?!http)([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", text)):
                path, _, anchor = link.partition("#")
                target = (document.parent / path).resolve() if path else document
                self.assertTrue(target.exists(), f"{document.relative_to(SOURCE)}: {link}")
                if anchor and target.suffix == ".md":
                    headings = re.findall(r"(?m)^#+ (.*)$", target.read_text())
                    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                    self.assertIn(anchor, anchors, f"{document.relative_to(SOURCE)}: {link}")


class EmulatorDocs(EndToEnd):
    def test_every_flag_setting_and_fault_of_the_emulator_stands_in_its_readme(self):
        readme = (SOURCE / "tests/emulator/README.md").read_text()
        text = subprocess.run([BIN / "segmind-emulator", "--help"], capture_output=True, text=True, check=True).stdout
        for name in set(re.findall(r"^  (?:-\w,)?--(\w+)", text, re.M)) - {"help"}:
            self.assertIn(f"`--{name}`", readme)
        emulator = self.start_emulator()
        for name in emulator.call("GET", "/emulator/settings"):
            self.assertTrue(f"`{name}`" in readme or f"`--{name}`" in readme, name)
        with urllib.request.urlopen(f"{emulator.url}/emulator/faults/kinds") as answer:
            kinds, words = answer.read().decode().split("\n\n", 1)
        rows = readme.split("\n## Faults\n", 1)[1]
        for name in re.findall(r"^(\w+) ", kinds, re.M):
            self.assertRegex(rows, rf"(?m)^\|[^|]*\b{name}\b")
        for word in re.findall(r"\w+", re.sub(r"(?m)^\w+:", "", words)):
            self.assertIn(f"`{word}`", rows)


if __name__ == "__main__":
    unittest.main()
