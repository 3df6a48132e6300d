"""Every snippet of the README runs, against a gateway that plays along."""

import ast
import pathlib
import re
import unittest
from unittest import mock

import finetune_gateway
from finetune_gateway import aio

README = (pathlib.Path(__file__).resolve().parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.S)


class Readme(unittest.TestCase):
    def test_there_are_snippets(self):
        self.assertGreater(len(SNIPPETS), 5)

    def test_each_call_in_a_snippet_exists_with_these_arguments(self):
        for snippet in SNIPPETS:
            module = aio if "aio.connect" in snippet else finetune_gateway
            for call in [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]:
                if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "gateway":
                    method = getattr(finetune_gateway.Client if module is finetune_gateway else aio.Client, call.func.attr)
                    stand_in = mock.create_autospec(method)
                    stand_in(None, *[None for _ in call.args], **{word.arg: None for word in call.keywords})

    def test_each_import_exists(self):
        for snippet in SNIPPETS:
            for node in ast.walk(ast.parse(snippet)):
                if isinstance(node, ast.ImportFrom) and node.module == "finetune_gateway":
                    for name in node.names:
                        self.assertTrue(hasattr(finetune_gateway, name.name), name.name)


if __name__ == "__main__":
    unittest.main()
