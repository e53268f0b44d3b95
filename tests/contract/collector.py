"""An OTLP receiver for logs, on OpenTelemetry's own definitions (PyPI: opentelemetry-proto).

Prints its port, then each record that arrives as a line of JSON.
"""

import http.server
import json

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/logs", self.path
        assert self.headers["Content-Type"] == "application/x-protobuf"
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    line = {
                        "resource": attributes(resource.resource.attributes),
                        "body": value(record.body),
                        "severity": record.severity_text,
                        "time": record.time_unix_nano or record.observed_time_unix_nano,
                        "attributes": attributes(record.attributes),
                    }
                    print(json.dumps(line, default=str), flush=True)
        answer = ExportLogsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
