"""validate.py FILE...: whether each line of an events.jsonl is an event of its class, as OCSF 1.8.0 publishes it.

`attestation` belongs to the profile `record_integrity`, which is not in 1.8.0 yet: what it must have is said here. Prints how many
lines of which class there were.
"""

import collections
import json
import pathlib
import re
import sys

import fastjsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

CLASSES = {3002: "authentication", 4007: "ssh_activity", 1007: "process_activity", 1001: "file_activity"}
HEX = re.compile("[0-9a-f]{64}")


def readable(schema):
    """The same without the patterns that have a dollar in a class of characters, which fastjsonschema takes for an end."""
    if isinstance(schema, dict):
        odd = isinstance(schema.get("pattern"), str) and re.search(r"\[[^\]]*\$", schema["pattern"])
        return {name: readable(value) for name, value in schema.items() if not (odd and name == "pattern")}
    return [readable(value) for value in schema] if isinstance(schema, list) else schema


schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
checks = {
    uid: fastjsonschema.compile(readable(schema.get_class_schema(name, profiles=["host"])))
    for uid, name in CLASSES.items()
}


def fingerprint(value):
    return value["algorithm_id"] == 3 and HEX.fullmatch(value["value"]) is not None


def check(event, first):
    """What is wrong with an event; nothing where it is one."""
    profiles = event["metadata"]["profiles"]
    if "record_integrity" not in profiles:
        return "it does not say that it has an attestation"
    profiles.remove("record_integrity")
    attestation = event.pop("attestation")
    if not (attestation["authority_uid"] and attestation["chain_uid"] and fingerprint(attestation["fingerprint"])):
        return f"no attestation: {attestation}"
    if ("prev_event" in attestation) == first or not (first or fingerprint(attestation["prev_event"]["fingerprint"])):
        return f"it follows no event: {attestation}"
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        return "its type is not that of its class and activity"
    try:
        checks[event["class_uid"]](event)
    except fastjsonschema.JsonSchemaException as error:
        return str(error)
    return None


found, wrong = collections.Counter(), 0
for name in sys.argv[1:]:
    for number, line in enumerate(pathlib.Path(name).read_text(encoding="utf-8").splitlines(), 1):
        event = json.loads(line)
        found[CLASSES[event["class_uid"]]] += 1
        if why := check(event, number == 1):
            wrong += 1
            print(f"{name}, line {number}: {why}\n{line}", file=sys.stderr)
print(json.dumps(found))
sys.exit(wrong > 0)
