"""What `cargo xtask api` knows beyond the description: events, a group and places of the server, and requests that do not wait.

Half of all names are made up, the others are of things that exist, so that requests get past `404`. Nothing here is random: the same seed
sends the same requests.
"""

import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies as st

SERVER = os.environ["GESTA_SERVER"]


def call(method, path, body=None, headers=None):
    """Sends a request. Its answer is JSON, or None."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(SERVER + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def places():
    """The places of the log after each of its first events."""
    call("POST", "/streams/order-42", {"type": "order.placed", "data": {"customer": "Anna"}, "tags": ["show:7"]})
    call("POST", "/streams/order-42", {"type": "order.paid", "data": {"amount": 100}})
    call("PUT", "/groups/mail", {"query": "all"}, {"If-None-Match": "*"})
    hosts = "account" in json.dumps(call("GET", "/"))
    if hosts:
        call("POST", "/commands/account/anna/open", {"owner": "Anna"})
        call("POST", "/commands/account/anna/deposit", {"amount": 100})
    return [call("GET", f"/checkpoint?at={at}")["checkpoint"] for at in ["start", "head"]]


PLACES = places()
STORE = PLACES[0].split(".")[0]
EVENT = call("GET", "/streams/order-42")["events"][0]["id"]
KNOWN = {"stream": "order-42", "group": "mail", "name": "balances", "id": "anna"}

# A request that names another store is refused before anything is looked at.
schemathesis.openapi.format("store", st.just(STORE))
schemathesis.openapi.format("checkpoint", st.sampled_from(PLACES))


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Names things that exist in half of the requests."""
    for name, value in (parameters or {}).items():
        if name in KNOWN and isinstance(value, str) and len(value) % 2 == 0:
            of_event = context.operation is not None and context.operation.path.startswith("/events/")
            parameters[name] = EVENT if of_event else KNOWN[name]
    return parameters


@schemathesis.hook
def map_body(context, body):
    """A member of a group waits for a moment at most."""
    if isinstance(body, dict) and isinstance(body.get("waitMs"), int) and 0 < body["waitMs"] <= 60_000:
        body["waitMs"] = 1
    return body


@schemathesis.hook
def map_query(context, query):
    """A wait for a new event ends at once."""
    if isinstance(query, dict) and "past" in query:
        query["wait"] = 0
    return query
