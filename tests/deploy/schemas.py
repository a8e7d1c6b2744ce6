"""The published schemas of Kubernetes' own kinds and of those that operators bring."""

import functools
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import yaml

#: What the overlays must run on; `preStop.sleep` came with 1.30.
OLDEST, NEWEST = "1.30", "1.37"
_CRDS = Path(__file__).parent / "crds"


@functools.cache
def _custom() -> dict[tuple[str, str], Any]:
    """Give the schemas of operators' kinds by API version and kind; no property but theirs is allowed."""
    schemas = {}
    for file in _CRDS.glob("*.yaml"):
        for definition in yaml.safe_load_all(file.read_text()):
            spec = definition["spec"]
            for version in spec["versions"]:
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                schemas[key] = _closed(version["schema"]["openAPIV3Schema"], is_root=True)
    return schemas


def _closed(schema: Any, *, is_root: bool = False) -> Any:
    """Refuse unknown properties, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    is_table = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_table and not schema.get("x-kubernetes-preserve-unknown-fields") and not is_root:
        closed.setdefault("additionalProperties", False)
    if isinstance(pattern := schema.get("pattern"), str) and "(?i)" in pattern:
        closed["pattern"] = f"(?i){pattern.replace('(?i)', '')}"  # Go takes flags anywhere, Python at the start
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    return closed


def mistake(one: dict[str, Any], version: str = NEWEST) -> str | None:
    """Say what is wrong with an object, None if nothing is."""
    try:
        if (schema := _custom().get((one["apiVersion"], one["kind"]))) is not None:
            jsonschema.validate(one, schema)
        else:
            kubernetes_validate.validate(one, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as exc:
        return str(exc.message)
    return None
