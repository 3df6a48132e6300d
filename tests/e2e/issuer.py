"""A JWT issuer's HTTPS server for the tests of access: key sets, errors and redirects on request."""

import http.server
import json
import ssl
import threading


class Issuer:
    """Serves what `answer` says at /jwks; keeps the headers of what it was asked."""

    def __init__(self, certificate=None, key=None):
        self.answer = (503, {}, b"")
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, dict(self.headers)))
                code, headers, body = outer.answer if self.path == "/jwks" else (200, {}, outer.elsewhere)
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.elsewhere = b""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, *signers):
        self.answer = (200, {}, json.dumps({"keys": [signer.jwk() for signer in signers]}).encode())

    def close(self):
        self.server.shutdown()
        self.server.server_close()
