"""Checks descriptions of APIs against the official schemas of their formats. Usage: validate.py FOLDER"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

# The package with the schemas of AsyncAPI.
ASYNCAPI_PACKAGE = "@asyncapi/specs@6.11.1"
ASYNCAPI_SCHEMA = "package/schemas/3.0.0.json"


def asyncapi_schema():
    """The official schema of AsyncAPI 3.0, or None where npm cannot bring it."""
    if shutil.which("npm") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        pack = ["npm", "pack", "--silent", "--pack-destination", folder, ASYNCAPI_PACKAGE]
        if subprocess.run(pack, stdout=subprocess.DEVNULL).returncode != 0:
            return None
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            return json.load(package.extractfile(ASYNCAPI_SCHEMA))


def main(folder):
    for path in sorted(folder.glob("*.openapi.json")):
        OpenAPIV31SpecValidator(json.loads(path.read_text())).validate()
        print(f"{path} is OpenAPI 3.1")
    schema = asyncapi_schema()
    for path in sorted(folder.glob("*.asyncapi.json")):
        if schema is None:
            print(f"{path} is not checked: npm cannot bring the schema of AsyncAPI")
            continue
        jsonschema.validators.validator_for(schema)(schema).validate(json.loads(path.read_text()))
        print(f"{path} is AsyncAPI 3.0")


main(Path(sys.argv[1]))
