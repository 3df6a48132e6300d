"""A small OpenTelemetry collector for the tests: takes OTLP over HTTP in JSON, or misbehaves."""

import http.server
import json
import threading

from harness import wait_until


class Span:
    """A span as it was exported, with its attributes as a dict."""

    def __init__(self, span, resource):
        self.trace_id, self.span_id = span["traceId"], span["spanId"]
        self.parent_id = span.get("parentSpanId", "")
        self.name, self.kind = span["name"], {1: "internal", 2: "server", 3: "client"}[span["kind"]]
        self.start, self.end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        self.attributes = attributes(span["attributes"])
        self.failed = span["status"].get("code") == 2
        self.resource = resource

    def __repr__(self):
        return f"{self.name} {self.attributes}"


def attributes(pairs):
    def value(v):
        return int(v["intValue"]) if "intValue" in v else next(iter(v.values()))

    return {pair["key"]: value(pair["value"]) for pair in pairs}


class Collector:
    """`code`: what it answers. `hang`: it takes connections and answers nothing until close()."""

    def __init__(self, code=200, hang=False):
        self.code, self.bodies, self.headers, self.paths = code, [], [], []
        self.released = threading.Event()
        if not hang:
            self.released.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.bodies.append(body)
                collector.headers.append(dict(self.headers))
                collector.paths.append(self.path)
                collector.released.wait()
                answer = b"{}"
                self.send_response(collector.code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # Callers go away.

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def text(self):
        return b"".join(list(self.bodies)).decode()

    def spans(self):
        found = []
        for body in list(self.bodies):
            for resource_spans in json.loads(body)["resourceSpans"]:
                resource = attributes(resource_spans["resource"]["attributes"])
                for scope_spans in resource_spans["scopeSpans"]:
                    found += [Span(span, resource) for span in scope_spans["spans"]]
        return found

    def trace(self, what, fits, size):
        """The spans of the one trace whose root (here) fits, in the order of their starts, once there are `size` of them."""

        def whole():
            spans = self.spans()
            for root in (s for s in spans if fits(s)):
                trace = sorted((s for s in spans if s.trace_id == root.trace_id), key=lambda s: s.start)
                if len(trace) >= size:
                    return trace
            return None

        return wait_until(what, whole)
