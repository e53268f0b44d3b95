"""A program of another company: all that it knows of Conclave is the client that a generator made
from docs/openapi.json. It cares for a domain over HTTPS, and takes a node out at the end."""

import os
import ssl
import subprocess
import tempfile
from http import HTTPStatus
from pathlib import Path

from client import AuthenticatedClient, Client
from client.api.domains import (
    certificate,
    create_domain,
    delete_domain,
    domain,
    domains,
    import_certificate,
)
from client.api.nodes import nodes, remove_node
from client.api.whoami import who_am_i
from client.models import CertificateImport, Code, DomainCreate, PkiMode, Problem

NAME = "stranger.example"


def made_by_openssl(directory: Path) -> tuple[str, str]:
    key, chain = directory / "key.pem", directory / "chain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "30", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        + ["-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
    )
    return key.read_text(), chain.read_text()


def done(answer):
    assert answer.status_code == HTTPStatus.OK, answer.parsed
    return answer.parsed


def refused(answer, status: HTTPStatus, code: Code):
    assert answer.status_code == status, answer
    assert isinstance(answer.parsed, Problem) and answer.parsed.code == code, answer.parsed


def main():
    url, authority = os.environ["CONCLAVE_URL"], os.environ["CONCLAVE_CA"]
    trust = ssl.create_default_context(cafile=authority)
    of_token = {"base_url": url, "verify_ssl": trust, "token": os.environ["CONCLAVE_TOKEN"]}
    with AuthenticatedClient(**of_token) as client, tempfile.TemporaryDirectory() as directory:
        print("rights:", ", ".join(right.value for right in done(who_am_i.sync_detailed(client=client)).rights))
        create = DomainCreate(name=NAME, aliases=[f"www.{NAME}"], pki=PkiMode.ENABLED)
        made = done(create_domain.sync_detailed(client=client, body=create))
        assert made.changed and made.object_ == NAME and not made.served.missing, made
        again = create_domain.sync_detailed(client=client, body=create)
        refused(again, HTTPStatus.CONFLICT, Code.D003)

        key, chain = made_by_openssl(Path(directory))
        body = CertificateImport(certificate=chain, key=key)
        tried = done(import_certificate.sync_detailed(NAME, client=client, body=body, dry_run=True))
        assert tried.dry_run and tried.dry_run.differences, tried
        options = {"if_match": f'"{made.version}"', "idempotency_key": "of-a-stranger"}
        once = done(import_certificate.sync_detailed(NAME, client=client, body=body, **options))
        twice = done(import_certificate.sync_detailed(NAME, client=client, body=body, **options))
        assert once.index == twice.index and len(once.served.nodes) == 3, (once, twice)

        shown = done(certificate.sync_detailed(NAME, client=client))
        assert shown.pem.split() == chain.split() and NAME in shown.names, shown
        whole = done(domain.sync_detailed(NAME, client=client))
        assert whole.credentials[0].certificate.sha256 == shown.sha256, whole
        listed = done(domains.sync_detailed(client=client))
        assert NAME in [one.name for one in listed.items], listed

        done(delete_domain.sync_detailed(NAME, client=client))
        gone = domain.sync_detailed(NAME, client=client)
        refused(gone, HTTPStatus.NOT_FOUND, Code.D002)

        last = done(nodes.sync_detailed(client=client)).items[-1].name
        done(remove_node.sync_detailed(last, client=client))
        left = [one.name for one in done(nodes.sync_detailed(client=client)).items]
        assert last not in left, left
        print("a domain was made, served, read and deleted; left are", ", ".join(left))
    with Client(base_url=url, verify_ssl=trust) as nobody:
        refused(domains.sync_detailed(client=nobody), HTTPStatus.UNAUTHORIZED, Code.X003)


main()
