"""Real servers on loopback, plain and encrypted, that serve what a test wants."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Served = dict[str, tuple[int, bytes]]
PAGE = b"<!DOCTYPE html><html><body>rate limit exceeded</body></html>"
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class _Handler(BaseHTTPRequestHandler):
    served: Served
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, body = self.served.get(self.path, (404, PAGE))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body.decode())
            self.send_header("Content-Length", "0")
            body = b""
        elif not self.path.startswith("/endless"):
            # A connection that breaks off promised more than it sends.
            self.send_header("Content-Length", str(len(body) + (100 if "truncated" in self.path else 0)))
        if self.path == "/squeezed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with suppress(ConnectionError):  # whoever has read enough hangs up
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(served: Served, asked: list[str], pem: Path | None = None) -> Iterator[str]:
    """Serve ``served`` by path, a 302 leading to its body, and note what is asked for; yield the address.

    With ``pem``, a key and its certificate, it is an https one.
    """
    handler = type("Handler", (_Handler,), {"served": served, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http{'s' if pem else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def write_certificate(folder: Path) -> Path:
    """Write a key and a certificate of its own for 127.0.0.1 into one file; REQUESTS_CA_BUNDLE makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "loopback.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return pem
