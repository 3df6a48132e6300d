"""Who may call what: every method with every kind of credential, and exactly the documented answer."""

import time
import unittest
import uuid

import credentials
from harness import API_KEY, EndToEnd, WEBHOOK_TOKEN, details_of, ft, grpc, job, reason_of, rpc, svc, wait_until

METHODS = svc.DESCRIPTOR.services_by_name["FineTuneService"].methods_by_name
WRITES = {"CreateFineTune", "UpdateFineTune", "CreateUploadUrl", "UploadDataset"}

MISSING = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
INVALID = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
DENIED = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "FINE_TUNE_NOT_FOUND")
NO_HANDSHAKE = (grpc.StatusCode.UNAVAILABLE, None)
OK = (grpc.StatusCode.OK, None)
# What requests of this table end with where the caller may make the call: they bring no dataset and ask for weights too early.
ALLOWED = {"UploadDataset": (grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
           "DownloadWeights": (grpc.StatusCode.FAILED_PRECONDITION, "WEIGHTS_NOT_READY")}
OF_ONE_JOB = {"GetFineTune", "WatchFineTunes", "WaitFineTune", "UpdateFineTune", "DownloadWeights"}

TOKENS = {name: f"canary-token-{name}-0123456789abcdef" for name in ("viewer", "submitter", "admin", "other")}
SUBJECT = "system:serviceaccount:search:indexer"


def send(channel, method, request, token=None, timeout=20):
    """The code and reason that one call of `method` ends with; of a stream, what its first answer says."""
    name = f"/segmind.finetune.v1.FineTuneService/{method}"
    types = METHODS[method]
    read = getattr(svc if hasattr(svc, types.output_type.name) else ft, types.output_type.name).FromString
    write = lambda message: message.SerializeToString()
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    options = {"timeout": timeout, "metadata": metadata}
    try:
        if method == "UploadDataset":
            channel.stream_unary(name, write, read)(iter([request]), **options)
        elif method in ("WatchFineTunes", "DownloadWeights"):
            stream = channel.unary_stream(name, write, read)(request, **options)
            next(stream)
            stream.cancel()
        else:
            channel.unary_unary(name, write, read)(request, **options)
    except grpc.RpcError as error:
        info = details_of(error).get("ErrorInfo")
        if info is not None and info.domain != "segmind-finetune-gateway":
            raise AssertionError(f"{method}: an error of the domain {info.domain}") from error
        return error.code(), reason_of(error)
    return OK


def send_with(channel, metadata):
    """How a list ends that is sent with this metadata."""
    try:
        rpc.FineTuneServiceStub(channel).ListFineTunes(svc.ListFineTunesRequest(), timeout=20, metadata=metadata)
    except grpc.RpcError as error:
        return error.code(), reason_of(error)
    return OK


def request_for(method, name):
    """A good request, about the job `name` where it is about one."""
    return {
        "CreateFineTune": lambda: svc.CreateFineTuneRequest(
            request_id=str(uuid.uuid4()), fine_tune=job(name=f"job-{uuid.uuid4().hex[:8]}")),
        "GetFineTune": lambda: svc.GetFineTuneRequest(name=name),
        "ListFineTunes": lambda: svc.ListFineTunesRequest(),
        "WatchFineTunes": lambda: svc.WatchFineTunesRequest(names=[name]),
        "WaitFineTune": lambda: svc.WaitFineTuneRequest(name=name, until=ft.FineTune.QUEUED),
        "UpdateFineTune": lambda: svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=name, labels={"a": "b"}), update_mask={"paths": ["labels"]}),
        "CreateUploadUrl": lambda: svc.CreateUploadUrlRequest(file_name="a.zip"),
        "UploadDataset": lambda: svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="a.zip", size_bytes=1)),
        "DownloadWeights": lambda: svc.DownloadWeightsRequest(name=name),
        "GetGatewayStatus": lambda: svc.GetGatewayStatusRequest(),
        "GetSpending": lambda: svc.GetSpendingRequest(),
    }[method]()


class Access(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.rsa = credentials.Signer(self.folder, "rsa")
        self.ec = credentials.Signer(self.folder, "ec", "ES256")
        self.stranger = credentials.Signer(self.folder, "stranger")
        credentials.write_key_set(self.folder / "jwks.json", self.rsa, self.ec)
        self.certificates = credentials.Certificates(self.folder / "certs", "dev", "nobody")
        self.policy = credentials.write_policy(self.folder / "policy.json", [
            credentials.caller("viewer", "VIEWER", TOKENS["viewer"], sees_all_jobs=True),
            credentials.caller("submitter", "SUBMITTER", TOKENS["submitter"]),
            credentials.caller("admin", "ADMIN", TOKENS["admin"], sees_all_jobs=True),
            credentials.caller("other", "SUBMITTER", TOKENS["other"]),
            credentials.caller("indexer", "SUBMITTER", jwts=[{"issuer": credentials.ISSUER, "subject": SUBJECT}]),
            credentials.caller("dev", "SUBMITTER", spiffe_ids=["spiffe://finetune.dev/dev"]),
            credentials.caller("by-name", "VIEWER", dns_names=["by-name"]),
        ], jwt_issuers=[{"issuer": credentials.ISSUER, "audiences": [credentials.AUDIENCE], "jwks_file": "jwks.json",
                         "leeway": "0s"}])

    def gateway(self, *flags):
        folder = self.folder / f"gateway-{len(self.processes)}"
        folder.mkdir()
        mine, self.folder = self.folder, folder
        try:
            gateway = self.start_gateway(self.emulator, "--policy_file", self.policy, *flags).ready()
        finally:
            self.folder = mine
        gateway.folder = folder
        return gateway

    def secure_channel(self, gateway, client=None):
        channel = grpc.secure_channel(gateway.address, self.certificates.channel_credentials(client))
        self.addCleanup(channel.close)
        return channel

    def create(self, channel, token=None):
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return rpc.FineTuneServiceStub(channel).CreateFineTune(
            request_for("CreateFineTune", ""), timeout=20, metadata=metadata)

    def expect(self, channel, expected, name, what, token=None, methods=METHODS):
        for method in methods:
            with self.subTest(method=method, what=what):
                self.assertEqual(send(channel, method, request_for(method, name), token), expected)

    def expect_role(self, channel, writes, name, what, token=None):
        for method in METHODS:
            with self.subTest(method=method, what=what):
                expected = DENIED if method in WRITES and not writes else ALLOWED.get(method, OK)
                self.assertEqual(send(channel, method, request_for(method, name), token), expected)

    @staticmethod
    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return value

    def bad_tokens(self):
        good = self.rsa.sign(SUBJECT)
        return {
            "wrong token": "canary-wrong-token-0123456789",
            "expired JWT": self.rsa.sign(SUBJECT, expires_in=-5),
            "wrong audience": self.rsa.sign(SUBJECT, audience="another-service"),
            "wrong issuer": self.rsa.sign(SUBJECT, issuer="https://elsewhere.test"),
            "unknown subject": self.rsa.sign("somebody"),
            "alg none": self.rsa.sign(SUBJECT, algorithm="none"),
            "HMAC with the public key": self.rsa.sign(SUBJECT, algorithm="HS256"),
            "another's key": self.stranger.sign(SUBJECT),
            "another's key under our kid": self.stranger.sign(SUBJECT, header={"kid": "rsa"}),
            "our key under another's kid": self.rsa.sign(SUBJECT, header={"kid": "ec"}),
            "a key of its own": self.stranger.sign(SUBJECT, header={"jwk": self.stranger.jwk(), "jku": "https://evil.test/jwks"}),
            "critical extension": self.rsa.sign(SUBJECT, header={"crit": ["b64"], "b64": False}),
            "not valid yet": self.rsa.sign(SUBJECT, claims={"nbf": int(time.time()) + 60}),
            "no expiry": self.rsa.sign(SUBJECT, claims={"exp": None}),
            "expiry as text": self.rsa.sign(SUBJECT, claims={"exp": "9999999999"}),
            "nested too deep": self.rsa.sign(SUBJECT, claims={"x": self.nested(200)}),
            "changed signature": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
            "empty": "",
        }

    def test_tokens_over_tls(self):
        gateway = self.gateway(*self.certificates.flags(mutual=False))
        channel = self.secure_channel(gateway)
        mine = self.create(channel, TOKENS["submitter"]).name
        self.expect(channel, MISSING, mine, "no credential")
        bad = self.bad_tokens()
        for what, token in bad.items():
            self.expect(channel, INVALID, mine, what, token)
        self.expect_role(channel, False, mine, "viewer", TOKENS["viewer"])
        self.expect_role(channel, True, mine, "submitter", TOKENS["submitter"])
        self.expect_role(channel, True, mine, "admin", TOKENS["admin"])
        for signer in (self.rsa, self.ec):
            token = signer.sign(SUBJECT)
            self.expect_role(channel, True, self.create(channel, token).name, f"JWT {signer.algorithm}", token)
        self.expect(channel, NOT_FOUND, mine, "other owner", TOKENS["other"], OF_ONE_JOB)
        self.check_ownership(channel, mine)
        for method in set(METHODS) - OF_ONE_JOB:
            self.expect(channel, ALLOWED.get(method, OK), mine, "other owner", TOKENS["other"], (method,))
        self.check_no_secret(gateway, [*bad.values(), self.rsa.sign(SUBJECT)])

    def check_ownership(self, channel, mine):
        stub = rpc.FineTuneServiceStub(channel)
        listed = lambda who: {j.name for j in stub.ListFineTunes(
            svc.ListFineTunesRequest(), timeout=20, metadata=(("authorization", f"Bearer {TOKENS[who]}"),)).fine_tunes}
        self.assertIn(mine, listed("submitter"))
        self.assertIn(mine, listed("admin"))
        self.assertNotIn(mine, listed("other"))
        theirs = self.create(channel, TOKENS["other"])
        self.assertEqual((theirs.creator, listed("other")), ("other", {theirs.name}))
        # A filter of one's own does not widen what one sees.
        answer = stub.ListFineTunes(
            svc.ListFineTunesRequest(filter='creator = "submitter" OR NOT creator = "x"'), timeout=20,
            metadata=(("authorization", f"Bearer {TOKENS['other']}"),))
        self.assertEqual({j.name for j in answer.fine_tunes}, {theirs.name})
        watch = stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=20,
                                    metadata=(("authorization", f"Bearer {TOKENS['other']}"),))
        seen = set()
        for event in watch:
            if event.WhichOneof("event") == "synced":
                break
            seen.add(event.change.fine_tune.name)
        watch.cancel()
        self.assertEqual(seen, {theirs.name})

    def check_no_secret(self, gateway, sent):
        places = {"the log": gateway.log.encode(), "metrics": gateway.admin("/metrics")[1].encode()}
        for path in gateway.folder.glob("store.db*"):
            places[path.name] = path.read_bytes()
        secrets = [API_KEY, WEBHOOK_TOKEN, *TOKENS.values(), *(s for s in sent if s)]
        for place, text in places.items():
            for secret in secrets:
                self.assertNotIn(secret.encode(), text, f"in {place}")
            self.assertNotIn(b"PRIVATE KEY", text)
        self.assertIn('finetune_gateway_refused_calls_total{reason="CREDENTIALS_INVALID"}', places["metrics"].decode())
        self.assertIn('"audit":true', places["the log"].decode())

    def test_client_certificates(self):
        self.certificates.make_bad_ones("dev")
        gateway = self.gateway(*self.certificates.flags(mutual=True))
        channel = self.secure_channel(gateway, "dev")
        mine = self.create(channel)
        self.assertEqual(mine.creator, "dev")
        self.expect_role(channel, True, mine.name, "SPIFFE URI")
        self.expect(self.secure_channel(gateway, "nobody"), INVALID, mine.name, "a certificate that the policy does not know")
        for bad in (None, "expired", "self-signed", "wrong-ca"):
            self.expect(self.secure_channel(gateway, bad), NO_HANDSHAKE, mine.name, f"{bad} certificate")
        # A token says more than the certificate beside it.
        self.expect(channel, DENIED, mine.name, "viewer's token", TOKENS["viewer"], ("CreateFineTune",))
        self.expect(channel, INVALID, mine.name, "wrong token", "wrong", METHODS)

    def test_a_dns_name_in_a_client_certificate(self):
        credentials.Certificates(self.folder / "certs", "by-name")
        gateway = self.gateway(*self.certificates.flags(mutual=True))
        mine = self.create(self.secure_channel(gateway, "dev")).name
        self.expect(self.secure_channel(gateway, "by-name"), DENIED, mine, "DNS name", methods=("CreateFineTune",))
        self.expect(self.secure_channel(gateway, "by-name"), NOT_FOUND, mine, "DNS name", methods=("GetFineTune",))

    def test_names_in_a_client_certificate_count_only_if_they_are_one_callers(self):
        self.certificates.make("both", "URI:spiffe://finetune.dev/dev", "DNS:by-name")
        self.certificates.make("several", "DNS:nobody", "DNS:by-name", "DNS:BY-NAME")
        self.certificates.make("wildcard", "DNS:*")
        self.certificates.make("common-name", subject="by-name")
        self.certificates.make("two-ids", "URI:spiffe://finetune.dev/dev", "URI:spiffe://finetune.dev/other")
        self.certificates.make("two-ids-and-a-name", "URI:spiffe://finetune.dev/dev", "URI:spiffe://finetune.dev/other", "DNS:by-name")
        self.certificates.make("an-id-and-a-uri", "URI:spiffe://finetune.dev/dev", "URI:https://x.test/", "DNS:by-name")
        self.certificates.make("longer", "URI:spiffe://finetune.dev/dev/x", "DNS:by-name.evil.test")
        gateway = self.gateway(*self.certificates.flags(mutual=True))
        for name in ("both", "wildcard", "common-name", "two-ids", "two-ids-and-a-name", "an-id-and-a-uri", "longer"):
            self.expect(self.secure_channel(gateway, name), INVALID, "fineTunes/x", name, methods=("ListFineTunes",))
        self.expect(self.secure_channel(gateway, "several"), OK, "", "several names of which one is known", methods=("ListFineTunes",))

    def test_authorizations_that_are_none(self):
        gateway = self.gateway()
        listed = lambda *metadata: send_with(gateway.channel, metadata)
        good = ("authorization", f"Bearer {TOKENS['viewer']}")
        self.assertEqual(listed(good), OK)
        self.assertEqual(listed(("authorization", f"bearer  {TOKENS['viewer']} ")), OK)
        self.assertEqual(listed(good, good), INVALID)
        self.assertEqual(listed(good, ("authorization", "Bearer x")), INVALID)
        for text in ("", "Bearer", "Bearer ", f"Basic {TOKENS['viewer']}", TOKENS["viewer"], f"Bearer {TOKENS['viewer']} x",
                     f"Bearer {TOKENS['viewer'][:-1]}", f"Bearer {TOKENS['viewer']}x", f"Bearer {credentials.sha256(TOKENS['viewer'])}"):
            self.assertEqual(listed(("authorization", text)), INVALID, text)
        self.assertEqual(listed(("x-authorization", good[1])), MISSING)
        # More than the 8 KiB of metadata that gRPC takes.
        self.assertEqual(listed(("authorization", "Bearer " + "x" * 6000)), INVALID)
        self.assertEqual(listed(("authorization", "Bearer " + "x" * 100000))[0], grpc.StatusCode.RESOURCE_EXHAUSTED)
        # gRPC may end the connection over it, and a call that was on its way there with it.
        wait_until("calls to go on", lambda: listed(good) == OK, seconds=10)

    def test_health_is_open_and_reflection_is_not_served(self):
        gateway = self.gateway()
        health = gateway.channel.unary_unary("/grpc.health.v1.Health/Check")
        wait_until("health to say SERVING", lambda: health(b"", timeout=20) == b"\x08\x01")
        for service in ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                        "grpc.channelz.v1.Channelz/GetServers", "segmind.finetune.v1.FineTuneService/NoSuchMethod"):
            with self.assertRaises(grpc.RpcError) as caught:
                gateway.channel.unary_unary(f"/{service}")(b"", timeout=20)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED, service)
        open_again = self.gateway("--reflection")
        stream = open_again.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(
            iter([b"\x3a\x00"]), timeout=20)
        self.assertIn(b"segmind.finetune.v1.FineTuneService", next(stream))

    def test_only_the_one_who_created_a_job_and_admins_update_it(self):
        credentials.write_policy(self.policy, [
            credentials.caller("a", "SUBMITTER", TOKENS["submitter"], sees_all_jobs=True),
            credentials.caller("b", "SUBMITTER", TOKENS["other"], sees_all_jobs=True)])
        channel = self.gateway().channel
        mine = self.create(channel, TOKENS["submitter"]).name
        self.expect(channel, OK, mine, "its creator", TOKENS["submitter"], ("UpdateFineTune",))
        self.expect(channel, DENIED, mine, "another", TOKENS["other"], ("UpdateFineTune",))
        self.expect(channel, OK, mine, "another", TOKENS["other"], ("GetFineTune", "WatchFineTunes"))


if __name__ == "__main__":
    unittest.main()
