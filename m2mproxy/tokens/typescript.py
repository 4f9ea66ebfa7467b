"""Tools as OpenAI shows them to its models: a namespace of functions, in TypeScript.

What a request says in a JSON schema comes out much shorter. How, no document says; it is known from
what requests cost, with which the part `tokens` of tools/bench compares.

The one rule: a schema of any shape gives text, in one walk over it, no deeper than _DEPTH.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from m2mproxy.tokens.body import Json, Tool, mapping

_DEPTH = 16
_DEFINITIONS = ("#/$defs/", "#/definitions/")


def render(tools: Sequence[Tool]) -> str:
    """The namespace."""
    lines = ["namespace functions {", ""]
    for tool in tools:
        lines += _comment(tool.description, "")
        members = "\n".join(_Schema(tool.parameters).members(tool.parameters, "", 0))
        lines.append(f"type {tool.name} = ({_object('_: ', members)}) => any;")
        lines.append("")
    return "\n".join([*lines, "} // namespace functions"])


def _object(name: str, members: str) -> str:
    return f"{name}{{\n{members}\n}}" if members else ""


def _comment(text: object, indent: str) -> Iterator[str]:
    if isinstance(text, str) and text:
        yield from (f"{indent}// {line.strip()}".rstrip() for line in text.split("\n"))


class _Schema:
    """What a walk over a schema has to know of the whole: definitions are shown once each."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._shown: set[str] = set()

    def members(self, schema: Json, indent: str, depth: int) -> Iterator[str]:
        """Lines for the properties of an object: what is said of each, and its type."""
        properties, required = schema.get("properties"), schema.get("required")
        names = required if isinstance(required, list) else ()
        needed = frozenset(each for each in names if isinstance(each, str))
        for name, each in properties.items() if isinstance(properties, Mapping) else ():
            value = mapping(each)
            if isinstance(title := value.get("title"), str):
                yield from (f"{indent}// {title}", f"{indent}//")
            yield from _comment(value.get("description"), indent)
            mark = "" if name in needed else "?"
            yield f"{indent}{name}{mark}: {self._type(value, indent, depth)},{_default(value)}"

    def _type(self, schema: Json, indent: str, depth: int) -> str:
        schema = self._defined(schema)
        if depth >= _DEPTH:
            return "any"
        if isinstance(choices := schema.get("enum"), list) and choices:
            return " | ".join(map(_literal, choices))
        for key in ("anyOf", "oneOf"):
            if isinstance(some := schema.get(key), list) and some:
                kinds = (self._type(mapping(each), indent, depth + 1) for each in some)
                return " | ".join(kinds)
        named = schema.get("type")
        names = named if isinstance(named, list) else [named]
        # Each once, or a list of the same name would have all below it walked as often.
        once = dict.fromkeys(each if isinstance(each, str) else "any" for each in names)
        return " | ".join(self._named(each, schema, indent, depth) for each in once)

    def _named(self, kind: str, schema: Json, indent: str, depth: int) -> str:
        if kind == "integer":
            return "number"
        if kind == "array":
            return f"{self._type(mapping(schema.get('items')), indent, depth + 1)}[]"
        if kind == "object":
            members = "\n".join(self.members(schema, indent + "  ", depth + 1))
            return _object("", members) or "object"
        return kind

    def _defined(self, schema: Json) -> Json:
        """What a reference stands for."""
        reference = schema.get("$ref")
        if not isinstance(reference, str) or reference in self._shown:
            return schema
        self._shown.add(reference)
        for prefix in _DEFINITIONS:
            if reference.startswith(prefix):
                section = mapping(self._root.get(prefix[2:-1]))
                return mapping(section.get(reference.removeprefix(prefix)))
        return schema


def _default(schema: Json) -> str:
    default = schema.get("default", ...)
    return f" // default: {_literal(default)}" if _is_plain(default) else ""


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if _is_plain(value) else "any"


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool | int | float | None)
