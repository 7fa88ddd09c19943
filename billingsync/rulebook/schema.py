"""The rules files as JSON Schema (draft 2020-12), for editors (taplo, Even Better TOML)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from billingsync.rulebook.keys import ANY, CLIENT_KEYS, KEYS, FileKeys

Schema = dict[str, object]


class _OfToml(GenerateJsonSchema):
    """A number is never written as text, and a key that is absent has no default here: the layer below has it."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "number"}
        bounds = {name: bound for name, bound in schema.items() if name in ("ge", "gt", "le")}
        self.update_with_validations(number, bounds, self.ValidationsMapping.numeric)
        return number

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def rules_schema() -> Schema:
    """One schema serves all layers; what may stand only in some of them is said in the description."""
    schema: dict[str, Any] = FileKeys.model_json_schema(schema_generator=_OfToml)
    tables = {name: schema["$defs"][at["$ref"].rpartition("/")[2]] for name, at in _tables(schema).items()}
    for key in (*KEYS, *CLIENT_KEYS):
        entry = tables[key.section]["properties"][key.name]
        if key.where != ANY:
            entry["description"] += f" Only in {key.where}."
        if key.default is not None:
            entry["default"] = _json(key.default)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "billingsync rules"}


def _tables(schema: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {name: at for name, at in schema["properties"].items() if "$ref" in at}


def _json(value: object) -> object:
    if isinstance(value, Decimal):  # shown by an editor, never computed with
        return int(value) if value == value.to_integral_value() else float(value)
    return list(value) if isinstance(value, tuple) else value
