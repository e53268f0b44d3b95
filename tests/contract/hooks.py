"""What schemathesis must not ask, because the run itself would end."""

import os

import schemathesis

# A shorter time is answered with 503 or 504, as the caller has asked for. Other suites may be busy on
# the same machine.
TIMEOUT_MS_MIN = 30_000


def too_short(value):
    try:
        return int(value) < TIMEOUT_MS_MIN
    except (TypeError, ValueError):
        return False


@schemathesis.hook
def map_case(context, case):
    if case.query and too_short(case.query.get("timeout_ms")):
        case.query["timeout_ms"] = TIMEOUT_MS_MIN
    # An answer with the wanted members alone lacks what is required otherwise, as its description
    # says: suites/reads.rs.
    if case.query:
        case.query.pop("fields", None)
    # An index that the cluster has not reached is waited for, and answered with 503.
    if case.headers:
        case.headers.pop("Conclave-Min-Index", None)
    return case


@schemathesis.hook
def filter_case(context, case):
    """The token of this run is not revoked."""
    ids = (case.path_parameters or {}).values()
    return os.environ["CONCLAVE_TOKEN_ID"] not in ids
