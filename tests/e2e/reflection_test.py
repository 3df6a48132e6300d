"""Tools ask for reflection by v1 or by v1alpha; both are answered alike, and neither where a policy is set and nobody asked for it."""

import importlib.util
import json
import os
import pathlib
import unittest

import grpc
from harness import EndToEnd

# The stubs' package `grpc` stands behind gRPC's own.
_spec = importlib.util.spec_from_file_location(
    "reflection_pb2", pathlib.Path(os.environ["FINETUNE_STUBS"]) / "grpc/reflection/v1/reflection_pb2.py")
reflection_pb2 = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reflection_pb2)



def services(gateway, version):
    call = gateway.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    answers = call(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=20)
    return {service.name for service in next(answers).list_services_response.service}


class Reflection(EndToEnd):
    def test_both_versions_tell_of_all_services(self):
        gateway = self.start_gateway(self.start_emulator()).ready()
        told = services(gateway, "v1")
        self.assertEqual(told, services(gateway, "v1alpha"))
        self.assertLessEqual({"segmind.finetune.v1.FineTuneService", "grpc.health.v1.Health"}, told)

    def test_with_a_policy_it_is_off(self):
        policy = self.folder / "policy.json"
        policy.write_text(json.dumps({"callers": [{"name": "art", "role": "VIEWER", "bearer_token_sha256": ["0" * 64]}]}))
        gateway = self.start_gateway(self.start_emulator(), "--policy_file", policy).ready()
        for version in ("v1", "v1alpha"):
            with self.assertRaises(grpc.RpcError) as caught:
                services(gateway, version)
            self.assertNotEqual(caught.exception.code(), grpc.StatusCode.OK)


if __name__ == "__main__":
    unittest.main()
