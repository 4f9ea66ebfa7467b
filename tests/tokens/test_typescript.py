"""Tools in TypeScript, line by line."""

from __future__ import annotations

import pytest

from m2mproxy.tokens.body import Json, Tool
from m2mproxy.tokens.typescript import render


def shown(parameters: Json, description: str = "") -> str:
    """What stands between the head and the end of a namespace."""
    text = render([Tool("f", description, parameters, {})])
    head, tail = "namespace functions {\n\n", "\n\n} // namespace functions"
    assert text.startswith(head) and text.endswith(tail)
    return text.removeprefix(head).removesuffix(tail)


def properties(**each: object) -> Json:
    return {"type": "object", "properties": each, "required": list(each)}


@pytest.mark.parametrize("parameters", [{}, {"properties": {}}, {"properties": 1}, properties()])
def test_a_tool_without_parameters_is_a_function_of_nothing(parameters: Json) -> None:
    assert shown(parameters) == "type f = () => any;"


def test_what_is_said_of_a_tool_and_of_its_parameters() -> None:
    parameters: Json = {
        "properties": {
            "city": {"type": "string", "title": "City", "description": "Where.\n  Or there."},
            "days": {"type": "integer", "default": 3},
        },
        "required": ["city"],
    }
    assert shown(parameters, "The weather.\n\nAs known.") == (
        "// The weather.\n//\n// As known.\ntype f = (_: {\n// City\n//\n// Where.\n// Or there.\n"
        "city: string,\ndays?: number, // default: 3\n}) => any;"
    )


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": ["object"] * 9}, "object"),
        ({"enum": ["a", 1, None, {}]}, '"a" | 1 | null | any'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"type": "array", "items": {"type": "number"}}, "number[]"),
        ({"type": "array"}, "any[]"),
        ({"type": "object"}, "object"),
        ({"type": "object", "properties": {"b": {}}}, "{\n  b?: any,\n}"),
        ({}, "any"),
        ({"type": 3}, "any"),
        (True, "any"),
        ({"$ref": "#/$defs/x"}, "any"),
        ({"$ref": "elsewhere"}, "any"),
    ],
)
def test_a_schema_is_shown_as_a_type(schema: object, kind: str) -> None:
    assert shown(properties(a=schema)) == f"type f = (_: {{\na: {kind},\n}}) => any;"


def test_a_definition_is_shown_once() -> None:
    parameters: Json = {
        **properties(a={"$ref": "#/$defs/x"}, b={"$ref": "#/$defs/x"}),
        "$defs": {"x": {"type": "string"}},
    }
    assert "a: string,\nb: any," in shown(parameters)
