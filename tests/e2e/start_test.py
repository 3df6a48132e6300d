"""What stops the start does so with one clear sentence."""

import os
import resource
import socket
import subprocess
import unittest

from harness import API_KEY, BIN, EndToEnd


class Start(EndToEnd):
    def run_gateway(self, *args, env=None, seconds=20, limits=()):
        key = self.folder / "key"
        key.write_text(API_KEY)
        key.chmod(0o600)
        default = {"--listen": "127.0.0.1:0", "--webhook_listen": "127.0.0.1:0", "--admin_listen": "127.0.0.1:0",
                   "--api_key_file": str(key), "--store": f"sqlite:{self.folder}/store.db", "--upstream_url": "http://127.0.0.1:9"}
        given = dict(zip(args[::2], args[1::2]))
        merged = {**default, **given}
        flags = [word for flag, value in merged.items() if value is not None for word in (flag, value)]
        flags += [flag for flag in given if flag.startswith("--") and "=" in flag]
        environment = {k: v for k, v in os.environ.items() if k != "SEGMIND_API_KEY"}
        return subprocess.run([BIN / "finetune-gateway", *flags], capture_output=True, text=True, timeout=seconds,
                              env={**environment, **(env or {})}, check=False,
                              preexec_fn=lambda: [resource.setrlimit(which, (most, most)) for which, most in limits])

    def stops(self, says, *args, code=1, **more):
        done = self.run_gateway(*args, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in says:
            self.assertIn(word, lines[0])

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.stops([str(port), "--listen"], "--listen", f"127.0.0.1:{port}")
            self.stops([str(port), "--webhook_listen"], "--webhook_listen", f"127.0.0.1:{port}")
            self.stops([str(port), "--admin_listen"], "--admin_listen", f"127.0.0.1:{port}")

    def test_an_unreadable_key_file(self):
        self.stops(["/nowhere/key", "--api_key_file"], "--api_key_file", "/nowhere/key")

    def test_no_key_at_all(self):
        self.stops(["--api_key_file", "SEGMIND_API_KEY"], "--api_key_file", None)

    def test_an_empty_key_file(self):
        empty = self.folder / "empty"
        empty.write_text("\n")
        self.stops([str(empty)], "--api_key_file", str(empty))

    def test_a_store_that_cannot_be_written(self):
        self.stops(["/proc/nowhere"], "--store", "sqlite:/proc/nowhere/store.db")

    def test_a_store_that_is_no_store(self):
        bad = self.folder / "bad.db"
        bad.write_bytes(os.urandom(8192))
        self.stops([str(bad)], "--store", f"sqlite:{bad}")

    def test_a_store_that_another_process_holds(self):
        emulator = self.start_emulator()
        self.start_gateway(emulator).ready()
        self.stops(["store.db"], "--store", f"sqlite:{self.folder}/store.db")

    def test_bad_flags(self):
        self.stops(["--store"], "--store", "mysql:x")
        self.stops(["--upstream_url"], "--upstream_url", "not a url")
        self.stops(["--listen"], "--listen", "127.0.0.1")
        self.stops(["--active_poll_interval"], "--active_poll_interval", "0s")
        self.stops(["--webhook_token_file"], "--webhook_token_file", "/nowhere/token")

    def test_a_bad_policy(self):
        policy = self.folder / "policy.json"
        self.stops(["--policy_file", str(policy)], "--policy_file", str(policy))
        policy.write_text('{"callers": [{"name": "a", "role": "ADMIN", "bearer_tokens": ["canary-token"]}]}')
        self.stops(["--policy_file", str(policy), "bearer_tokens"], "--policy_file", str(policy))
        policy.write_text('{"callers": []}')
        self.stops(["--policy_file", "names no callers"], "--policy_file", str(policy))

    def test_a_process_that_may_not_have_what_it_needs(self):
        for which, most, word in ((resource.RLIMIT_NOFILE, 24, "open files"), (resource.RLIMIT_NOFILE, 12, "open files"),
                                  (resource.RLIMIT_AS, 300 << 20, "address space"), (resource.RLIMIT_AS, 1 << 30, "address space"),
                                  (resource.RLIMIT_DATA, 100 << 20, "data segment")):
            with self.subTest(word, most=most):
                self.stops([word, "raise it"], limits=[(which, most)])

    def test_an_open_door_needs_to_be_asked_for(self):
        self.stops(["--allow_insecure"], "--listen", "0.0.0.0:0")

    def test_a_check_says_all_that_is_wrong_and_starts_nothing(self):
        done = self.run_gateway("--check=true", None)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "finetune-gateway: the configuration is good\n", ""))
        self.assertFalse((self.folder / "store.db").exists())
        policy = self.folder / "policy.json"
        policy.write_text('{"callers": []}')
        done = self.run_gateway("--check=true", None, "--policy_file", str(policy), "--api_key_file", "/nowhere/key", "--webhook_token_file", "/nowhere/token")
        self.assertEqual(done.returncode, 1)
        self.assertEqual([line.split(": ")[1] for line in done.stderr.splitlines()], ["--api_key_file", "--webhook_token_file", "--policy_file"])
        self.assertEqual(self.run_gateway("--check=true", None, "--listen", "nonsense").returncode, 1)
        # Beside one that runs.
        self.start_gateway(self.start_emulator()).ready()
        self.assertEqual(self.run_gateway("--check=true", None).returncode, 0)

    def test_an_unknown_flag(self):
        done = self.run_gateway("--no_such_flag", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no_such_flag", done.stderr)

    def test_variables_of_opentelemetry_and_unknown_ones_stop_nothing(self):
        odd = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "jaeger_remote",
               "OTEL_BSP_SCHEDULE_DELAY": "5s", "OTEL_RESOURCE_ATTRIBUTES": "junk", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem", "FINETUNE_GATEWAY_LISTENN": "127.0.0.1:1"}
        emulator = self.start_emulator()
        gateway = self.start_gateway(emulator, env=odd).ready()
        for named in ("OTEL_EXPORTER_OTLP_PROTOCOL", "did you mean FINETUNE_GATEWAY_LISTEN?"):
            self.assertIn(named, gateway.log)
        gateway.terminate()
        gateway = self.start_gateway(emulator, env={**odd, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}).ready()
        for named in ("OTEL_TRACES_SAMPLER", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_CERTIFICATE"):
            self.assertIn(named, gateway.log)

    def test_a_bad_environment_variable(self):
        done = self.run_gateway(env={"FINETUNE_GATEWAY_ACTIVE_POLL_INTERVAL": "soon"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("FINETUNE_GATEWAY_ACTIVE_POLL_INTERVAL", done.stderr)


if __name__ == "__main__":
    unittest.main()
