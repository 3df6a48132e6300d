"""Renders every overlay with kubectl and looks at what a cluster would get."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OVERLAYS = os.path.join(ROOT, "deploy/kubernetes/overlays")
NAMES = sorted(os.listdir(OVERLAYS))
GATEWAY = {"app.kubernetes.io/name": "finetune-gateway"}


def kubectl_is_new_enough():
    """Older ones have a kustomize that lacks what the manifests use."""
    if not shutil.which("kubectl"):
        return False
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=False)
    try:
        version = json.loads(said.stdout)["clientVersion"]
        return (int(version["major"]), int(re.match(r"\d+", version["minor"]).group())) >= (1, 27)
    except (ValueError, KeyError, AttributeError):
        return False


def renderer():
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if kubectl_is_new_enough() else None


RENDERER = renderer()
RENDERED = {}


def objects(overlay):
    if overlay not in RENDERED:
        done = subprocess.run(
            RENDERER + [os.path.join(OVERLAYS, overlay)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or done.stderr:
            raise AssertionError(f"{overlay} does not render cleanly: {done.stderr}")
        RENDERED[overlay] = [o for o in yaml.safe_load_all(done.stdout) if o]
    return RENDERED[overlay]


def of_kind(overlay, kind, name=None):
    return [o for o in objects(overlay) if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def one(overlay, kind, name):
    found = of_kind(overlay, kind, name)
    if len(found) != 1:
        raise AssertionError(f"{overlay} has {len(found)} {kind}s named {name}")
    return found[0]


def workloads(overlay):
    return of_kind(overlay, "StatefulSet") + of_kind(overlay, "Deployment")


def gateway(overlay):
    (found,) = [w for w in workloads(overlay) if w["metadata"]["name"] == "finetune-gateway"]
    return found


def flags(overlay):
    """The gateway's flags, as it will find them in its environment."""
    pod = gateway(overlay)["spec"]["template"]["spec"]
    name = pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    return one(overlay, "ConfigMap", name)["data"]


def flags_in_sources():
    """The gateway's flags and their defaults, as the sources write them."""
    with open(os.path.join(ROOT, "server/flags.cc"), encoding="utf-8") as f:
        return dict(re.findall(r"^      \{\"(\w+)\",\s*\"?(.*?)\"?,", f.read(), re.M))


class EveryOverlay:
    """What holds for each; `overlay` names one."""

    overlay = ""

    def test_every_object_is_what_the_api_expects(self):
        overlay = self.overlay
        done = subprocess.run(
            ["node", os.path.join(HERE, "schema.js")],
            input=json.dumps(objects(overlay)),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_everything_lives_in_one_namespace_that_enforces_restricted_pods(self):
        overlay = self.overlay
        (namespace,) = of_kind(overlay, "Namespace")
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        for o in objects(overlay):
            if o["kind"] != "Namespace":
                self.assertEqual(o["metadata"]["namespace"], namespace["metadata"]["name"], o["metadata"])

    def test_pods_meet_the_restricted_standard_and_more(self):
        overlay = self.overlay
        for workload in workloads(overlay):
            pod = workload["spec"]["template"]["spec"]
            self.assertIs(pod["automountServiceAccountToken"], False)
            for forbidden in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
                self.assertNotIn(forbidden, pod)
            context = pod["securityContext"]
            self.assertIs(context["runAsNonRoot"], True)
            self.assertEqual(context["runAsUser"], 65532)
            self.assertEqual(context["runAsGroup"], 65532)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertTrue(pod["containers"])
            for container in pod["containers"] + pod.get("initContainers", []):
                security = container["securityContext"]
                self.assertIs(security["readOnlyRootFilesystem"], True)
                self.assertIs(security["allowPrivilegeEscalation"], False)
                self.assertIs(security["privileged"], False)
                self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                self.assertNotIn("runAsUser", security)
                self.assertNotIn("seccompProfile", security)
                for port in container["ports"]:
                    self.assertNotIn("hostPort", port)
            for volume in pod.get("volumes", []):
                kind = next(k for k in volume if k != "name")
                self.assertIn(kind, ("secret", "configMap", "emptyDir", "csi", "persistentVolumeClaim"))

    def test_no_secret_is_in_the_environment_or_the_arguments_of_the_gateway(self):
        overlay = self.overlay
        (container,) = gateway(overlay)["spec"]["template"]["spec"]["containers"]
        self.assertNotIn("env", container)
        self.assertNotIn("args", container)
        for source in container["envFrom"]:
            self.assertNotIn("secretRef", source)

    def test_a_mounted_secret_follows_its_source(self):
        overlay = self.overlay
        (container,) = gateway(overlay)["spec"]["template"]["spec"]["containers"]
        for mount in container["volumeMounts"]:
            self.assertNotIn("subPath", mount)

    def test_secret_files_are_for_the_group_alone(self):
        overlay = self.overlay
        for volume in gateway(overlay)["spec"]["template"]["spec"]["volumes"]:
            if "secret" in volume:
                self.assertEqual(volume["secret"]["defaultMode"], 0o440)

    def test_every_file_named_in_a_flag_is_in_a_mounted_directory(self):
        overlay = self.overlay
        (container,) = gateway(overlay)["spec"]["template"]["spec"]["containers"]
        mounts = [m["mountPath"] + "/" for m in container["volumeMounts"]]
        for flag, value in flags(overlay).items():
            path = value.removeprefix("sqlite:")
            if path.startswith("/"):
                self.assertTrue(any(path.startswith(m) for m in mounts), flag)

    def test_images_are_pinned_and_resources_bounded(self):
        overlay = self.overlay
        for workload in workloads(overlay):
            for container in workload["spec"]["template"]["spec"]["containers"]:
                self.assertRegex(container["image"], r"(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$")
                for side in ("requests", "limits"):
                    self.assertEqual(set(container["resources"][side]), {"cpu", "memory"})

    def test_the_network_is_closed_both_ways_by_default(self):
        overlay = self.overlay
        deny = one(overlay, "NetworkPolicy", "default-deny")["spec"]
        self.assertEqual(deny["podSelector"], {})
        self.assertEqual(sorted(deny["policyTypes"]), ["Egress", "Ingress"])
        self.assertNotIn("ingress", deny)
        self.assertNotIn("egress", deny)

    def test_every_network_rule_names_its_peers_and_its_ports(self):
        overlay = self.overlay
        for policy in of_kind(overlay, "NetworkPolicy"):
            for direction, side in (("ingress", "from"), ("egress", "to")):
                for rule in policy["spec"].get(direction, []):
                    self.assertTrue(rule.get(side), policy["metadata"]["name"])
                    self.assertTrue(rule.get("ports"), policy["metadata"]["name"])
                    for peer in rule[side]:
                        self.assertNotIn({}, peer.values())

    def test_the_only_addresses_outside_are_public_ones_on_443(self):
        private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"}
        overlay = self.overlay
        for policy in of_kind(overlay, "NetworkPolicy"):
            for rule in policy["spec"].get("ingress", []):
                self.assertFalse([p for p in rule["from"] if "ipBlock" in p])
            for rule in policy["spec"].get("egress", []):
                blocks = [p["ipBlock"] for p in rule["to"] if "ipBlock" in p]
                if not blocks:
                    continue
                self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": 443}])
                for block in blocks:
                    self.assertIn(block["cidr"], ("0.0.0.0/0", "2000::/3"))
                    if block["cidr"] == "0.0.0.0/0":
                        self.assertLessEqual(private, set(block["except"]))

    def test_the_doors_are_open_to_those_whom_they_are_for(self):
        overlay = self.overlay
        who = {}
        for policy in of_kind(overlay, "NetworkPolicy"):
            if policy["spec"]["podSelector"].get("matchLabels") == GATEWAY:
                for rule in policy["spec"].get("ingress", []):
                    for port in rule["ports"]:
                        who.setdefault(port["port"], []).extend(rule["from"])
        self.assertEqual(set(who), {50051, 8080, 9090})
        self.assertEqual(
            who[50051], [{"namespaceSelector": {"matchLabels": {"finetune-gateway/client": "allowed"}}}]
        )
        for peer in who[9090]:
            self.assertEqual(
                peer["namespaceSelector"], {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
            )

    def test_the_ingress_shows_the_webhook_door_alone(self):
        overlay = self.overlay
        backends = [
            (path["path"], path["backend"]["service"]["name"])
            for ingress in of_kind(overlay, "Ingress")
            for rule in ingress["spec"]["rules"]
            for path in rule["http"]["paths"]
        ]
        self.assertLessEqual(set(backends), {("/webhooks/segmind/", "finetune-gateway-webhook")})
        for ingress in of_kind(overlay, "Ingress"):
            self.assertNotIn("defaultBackend", ingress["spec"])
            self.assertTrue(ingress["spec"]["tls"])
        service = one(overlay, "Service", "finetune-gateway-webhook")
        self.assertEqual([p["port"] for p in service["spec"]["ports"]], [8080])

    def test_no_service_is_reachable_from_outside_the_cluster(self):
        overlay = self.overlay
        for service in of_kind(overlay, "Service"):
            self.assertEqual(service["spec"].get("type", "ClusterIP"), "ClusterIP")

    def test_services_and_budgets_select_the_pods(self):
        overlay = self.overlay
        pods = [w["spec"]["template"]["metadata"]["labels"] for w in workloads(overlay)]
        selectors = [s["spec"]["selector"] for s in of_kind(overlay, "Service")]
        selectors += [b["spec"]["selector"]["matchLabels"] for b in of_kind(overlay, "PodDisruptionBudget")]
        for selector in selectors:
            self.assertEqual(len([p for p in pods if selector.items() <= p.items()]), 1, selector)

    def test_clients_can_balance_by_themselves_or_not(self):
        overlay = self.overlay
        headless = one(overlay, "Service", "finetune-gateway-headless")["spec"]
        plain = one(overlay, "Service", "finetune-gateway")["spec"]
        self.assertEqual(headless["clusterIP"], "None")
        self.assertNotIn("clusterIP", plain)
        self.assertFalse(headless.get("publishNotReadyAddresses", False))
        if gateway(overlay)["kind"] == "StatefulSet":
            self.assertEqual(gateway(overlay)["spec"]["serviceName"], "finetune-gateway-headless")

    def test_probes_ask_the_admin_door(self):
        overlay = self.overlay
        (container,) = gateway(overlay)["spec"]["template"]["spec"]["containers"]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "admin"})
        for flag, port in (("LISTEN", "grpc"), ("WEBHOOK_LISTEN", "webhook"), ("ADMIN_LISTEN", "admin")):
            self.assertEqual(flags(overlay)["FINETUNE_GATEWAY_" + flag], f"0.0.0.0:{ports[port]}")

    def test_there_is_time_to_drain(self):
        known = flags_in_sources()
        delay, drain = (int(re.fullmatch(r"(\d+)s", known[f]).group(1)) for f in ("drain_delay", "drain_time"))
        given = gateway(self.overlay)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        # Streams have drain_time, then calls as much again.
        self.assertGreaterEqual(given, delay + 2 * drain + 10)

    def test_a_disruption_budget_lets_nodes_be_drained(self):
        overlay = self.overlay
        self.assertEqual(one(overlay, "PodDisruptionBudget", "finetune-gateway")["spec"]["maxUnavailable"], 1)

    def test_only_the_emulator_overlay_does_without_protection(self):
        overlay = self.overlay
        insecure = flags(overlay).get("FINETUNE_GATEWAY_ALLOW_INSECURE")
        self.assertEqual(insecure, "true" if overlay == "emulator" else None)

    def test_every_flag_that_is_set_is_one_of_the_gateway(self):
        known = flags_in_sources()
        for name in flags(self.overlay):
            self.assertRegex(name, r"^FINETUNE_GATEWAY_[A-Z_]+$")
            self.assertIn(name.removeprefix("FINETUNE_GATEWAY_").lower(), known)


def example(file):
    with open(os.path.join(ROOT, "deploy/kubernetes/examples", file), encoding="utf-8") as f:
        return list(yaml.safe_load_all(f))


SKIP = "needs kubectl 1.27 or later, or kustomize 5; Debian 12 has neither"


@unittest.skipUnless(RENDERER, SKIP)
class Tracing(unittest.TestCase):
    """The component for traces, laid over the single gateway."""

    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.overlay = folder
        with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as f:
            single = os.path.relpath(os.path.join(OVERLAYS, "single"), os.path.realpath(folder))
            yaml.safe_dump({"resources": [single], "components": [os.path.join(single, "../../components/tracing")]}, f)

    def test_the_gateway_is_told_of_a_collector_and_may_reach_it(self):
        host, port = re.match(r"http://([^/:]+):(\d+)$", flags(self.overlay)["OTEL_EXPORTER_OTLP_ENDPOINT"]).groups()
        policy = one(self.overlay, "NetworkPolicy", "finetune-gateway-tracing")["spec"]
        pods = gateway(self.overlay)["spec"]["template"]["metadata"]["labels"]
        self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), pods.items())
        (rule,) = policy["egress"]
        self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": int(port)}])
        (peer,) = rule["to"]
        name, namespace = host.split(".")
        self.assertEqual(peer["namespaceSelector"]["matchLabels"], {"kubernetes.io/metadata.name": namespace})
        self.assertEqual(peer["podSelector"]["matchLabels"], {"app.kubernetes.io/name": name})

    def test_it_changes_nothing_else(self):
        added = {k: v for k, v in flags(self.overlay).items() if k not in flags("single")}
        self.assertTrue(all(name.startswith("OTEL_") for name in added), added)
        self.assertEqual(len(objects(self.overlay)), len(objects("single")) + 1)


@unittest.skipUnless(RENDERER, SKIP)
class Single(EveryOverlay, unittest.TestCase):
    overlay = "single"

    def test_the_single_gateway_keeps_its_record_on_a_volume_of_its_own(self):
        spec = gateway("single")["spec"]
        self.assertEqual(spec["replicas"], 1)
        (claim,) = spec["volumeClaimTemplates"]
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteOncePod"])
        (container,) = spec["template"]["spec"]["containers"]
        path = flags("single")["FINETUNE_GATEWAY_STORE"].removeprefix("sqlite:")
        mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        self.assertEqual(mounts[os.path.dirname(path)], claim["metadata"]["name"])

    def test_the_single_gateway_demands_client_certificates_and_shows_nothing_for_debugging(self):
        for flag in ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"):
            self.assertTrue(flags("single")["FINETUNE_GATEWAY_" + flag].startswith("/etc/finetune-gateway/tls/"))
        for flag in ("CHANNELZ", "REFLECTION"):
            self.assertEqual(flags("single")["FINETUNE_GATEWAY_" + flag], "false")

    def test_the_single_gateway_knows_its_callers(self):
        self.assertTrue(flags("single")["FINETUNE_GATEWAY_POLICY_FILE"].startswith("/etc/finetune-gateway/policy/"))

    def test_the_single_gateway_ships_no_secret(self):
        self.assertEqual(of_kind("single", "Secret"), [])

    def test_prometheus_finds_the_pods_even_when_they_are_not_ready(self):
        (monitor,) = of_kind("single", "ServiceMonitor")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        found = [s for s in of_kind("single", "Service") if wanted.items() <= s["metadata"]["labels"].items()]
        self.assertEqual(len(found), 1)
        self.assertIs(found[0]["spec"]["publishNotReadyAddresses"], True)
        (endpoint,) = monitor["spec"]["endpoints"]
        self.assertIn(endpoint["port"], [p["name"] for p in found[0]["spec"]["ports"]])


@unittest.skipUnless(RENDERER, SKIP)
class Emulator(EveryOverlay, unittest.TestCase):
    overlay = "emulator"

    def test_the_urls_that_the_emulator_hands_out_lead_back_to_it(self):
        (emulator,) = of_kind("emulator", "Deployment")
        (container,) = emulator["spec"]["template"]["spec"]["containers"]
        arguments = dict(a.removeprefix("--").split("=", 1) for a in container["args"])
        (namespace,) = of_kind("emulator", "Namespace")
        host = f"segmind-emulator.{namespace['metadata']['name']}"
        self.assertEqual(one("emulator", "Service", "segmind-emulator")["spec"]["ports"][0]["port"], 8090)
        self.assertEqual(arguments["public_url"], f"http://{host}:8090")
        self.assertEqual(flags("emulator")["FINETUNE_GATEWAY_UPSTREAM_URL"], f"http://{host}:8090")
        self.assertEqual(
            arguments["webhook_url"], "http://finetune-gateway-webhook:8080/webhooks/segmind/$(WEBHOOK_TOKEN)"
        )

    def test_the_emulator_needs_nothing_from_the_internet(self):
        (emulator,) = of_kind("emulator", "Deployment")
        self.assertEqual(emulator["spec"]["replicas"], 1)
        policy = one("emulator", "NetworkPolicy", "segmind-emulator")
        for rule in policy["spec"]["egress"]:
            self.assertFalse([p for p in rule["to"] if "ipBlock" in p])


@unittest.skipUnless(RENDERER, SKIP)
class Fleet(EveryOverlay, unittest.TestCase):
    overlay = "fleet"

    def test_a_new_pod_serves_before_an_old_one_goes(self):
        spec = gateway("fleet")["spec"]
        self.assertEqual(gateway("fleet")["kind"], "Deployment")
        self.assertEqual(spec["replicas"], 3)
        self.assertEqual(spec["strategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        self.assertEqual(of_kind("fleet", "StatefulSet"), [])

    def test_the_pods_keep_nothing(self):
        spec = gateway("fleet")["spec"]
        self.assertNotIn("volumeClaimTemplates", spec)
        for volume in spec["template"]["spec"]["volumes"]:
            self.assertTrue({"secret", "configMap"} & set(volume), volume)

    def test_they_spread_over_zones_and_nodes(self):
        constraints = gateway("fleet")["spec"]["template"]["spec"]["topologySpreadConstraints"]
        self.assertEqual({c["topologyKey"] for c in constraints}, {"topology.kubernetes.io/zone", "kubernetes.io/hostname"})

    def database(self):
        """What the URL says: user, host, namespace, database."""
        return re.fullmatch(r"postgresql://(\w+)@([\w-]+)\.([\w-]+)/(\w+)", flags("fleet")["FINETUNE_GATEWAY_STORE"]).groups()

    def test_the_way_to_the_database_is_open_and_no_other(self):
        policy = one("fleet", "NetworkPolicy", "finetune-gateway-database")["spec"]
        self.assertEqual(policy["podSelector"]["matchLabels"], GATEWAY)
        self.assertEqual(policy["policyTypes"], ["Egress"])
        (rule,) = policy["egress"]
        self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": 5432}])
        (cluster,) = [o for o in example("cloudnative-pg.yaml") if o["kind"] == "Cluster"]
        self.assertEqual(rule["to"], [{"podSelector": {"matchLabels": {"cnpg.io/cluster": cluster["metadata"]["name"]}}}])

    def test_the_example_database_is_the_one_that_the_overlay_means(self):
        (cluster,) = [o for o in example("cloudnative-pg.yaml") if o["kind"] == "Cluster"]
        name = cluster["metadata"]["name"]
        user, host, namespace, database = self.database()
        self.assertEqual((host, namespace), (f"{name}-rw", cluster["metadata"]["namespace"]))
        initdb = cluster["spec"]["bootstrap"]["initdb"]
        self.assertEqual((user, database, "UTF8"), (initdb["owner"], initdb["database"], initdb["encoding"]))
        volumes = {v["name"]: v["secret"] for v in gateway("fleet")["spec"]["template"]["spec"]["volumes"] if "secret" in v}
        self.assertEqual(volumes["database"]["secretName"], f"{name}-app")
        self.assertEqual(volumes["database-ca"]["secretName"], f"{name}-ca")
        self.assertEqual([i["key"] for i in volumes["database-ca"]["items"]], ["ca.crt"], "never the CA's key")

    def test_the_example_database_acknowledges_nothing_that_one_node_can_lose(self):
        (cluster,) = [o for o in example("cloudnative-pg.yaml") if o["kind"] == "Cluster"]
        self.assertEqual(cluster["spec"]["instances"], 3)
        self.assertEqual(cluster["spec"]["postgresql"]["synchronous"],
                         {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True})

    def test_the_example_database_may_be_reached_by_the_gateway(self):
        (policy,) = [o for o in example("cloudnative-pg.yaml") if o["kind"] == "NetworkPolicy"]
        reached = [p for r in policy["spec"]["ingress"] for p in r["from"] if {"protocol": "TCP", "port": 5432} in r["ports"]]
        self.assertIn({"podSelector": {"matchLabels": GATEWAY}}, reached)

    def test_it_has_the_protection_of_the_single_gateway(self):
        for flag, value in flags("single").items():
            if flag != "FINETUNE_GATEWAY_STORE":
                self.assertEqual(flags("fleet")[flag], value)
        self.assertEqual(of_kind("fleet", "Secret"), [])
        self.assertEqual(len(of_kind("fleet", "ServiceMonitor")), 1)


@unittest.skipUnless(RENDERER, SKIP)
class Autoscaler(unittest.TestCase):
    """The component for more replicas, laid over the fleet."""

    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.overlay = folder
        with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as f:
            fleet = os.path.relpath(os.path.join(OVERLAYS, "fleet"), os.path.realpath(folder))
            yaml.safe_dump({"resources": [fleet], "components": [os.path.join(fleet, "../../components/hpa")]}, f)

    def test_it_alone_says_how_many(self):
        self.assertNotIn("replicas", gateway(self.overlay)["spec"])
        scaler = one(self.overlay, "HorizontalPodAutoscaler", "finetune-gateway")["spec"]
        target = gateway(self.overlay)
        self.assertEqual(scaler["scaleTargetRef"],
                         {"apiVersion": target["apiVersion"], "kind": target["kind"], "name": target["metadata"]["name"]})
        self.assertEqual((scaler["minReplicas"], scaler["maxReplicas"]), (3, 10))
        self.assertIn("cpu", target["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"])

    def test_the_example_database_has_room_for_all_of_them(self):
        (cluster,) = [o for o in example("cloudnative-pg.yaml") if o["kind"] == "Cluster"]
        most = one(self.overlay, "HorizontalPodAutoscaler", "finetune-gateway")["spec"]["maxReplicas"]
        self.assertGreaterEqual(int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]), 3 * (most + 1) + 20)

    def test_every_object_is_what_the_api_expects(self):
        done = subprocess.run(["node", os.path.join(HERE, "schema.js")], input=json.dumps(objects(self.overlay)),
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


class AllOverlays(unittest.TestCase):
    def test_each_is_looked_at(self):
        self.assertEqual(NAMES, sorted(t.overlay for t in EveryOverlay.__subclasses__()))


class Examples(unittest.TestCase):
    def test_the_example_secrets_have_the_files_that_the_flags_name(self):
        with open(os.path.join(ROOT, "deploy/kubernetes/examples/secrets.yaml"), encoding="utf-8") as f:
            secrets = {s["metadata"]["name"]: s for s in yaml.safe_load_all(f)}
        self.assertEqual(set(secrets["finetune-gateway-segmind"]["stringData"]), {"api-key", "webhook-token"})
        self.assertEqual(set(secrets["finetune-gateway-tls"]["stringData"]), {"tls.crt", "tls.key", "ca.crt"})

    def test_no_example_holds_a_value_that_someone_might_use(self):
        with open(os.path.join(ROOT, "deploy/kubernetes/examples/secrets.yaml"), encoding="utf-8") as f:
            for secret in yaml.safe_load_all(f):
                self.assertEqual(set(secret["stringData"].values()), {""})

    def test_every_example_is_readable(self):
        folder = os.path.join(ROOT, "deploy/kubernetes/examples")
        for file in sorted(os.listdir(folder)):
            with open(os.path.join(folder, file), encoding="utf-8") as f:
                for o in yaml.safe_load_all(f):
                    self.assertEqual(o["metadata"]["namespace"], "finetune-gateway", file)


if __name__ == "__main__":
    unittest.main()
