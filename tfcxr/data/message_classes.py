"""Protobuf messages from a short text of their fields, for those whose generated classes would bring a library along.

    classes = message_classes("tensorflow", "Int64List { repeated int64 value = 1 }")
    classes["Int64List"](value=[1, 2]).SerializeToString()

A field is `TYPE NAME = NUMBER` as in a .proto file of proto3. Before it may stand `repeated`, `map` (its keys are
strings) or `oneof GROUP`. The classes live in a descriptor pool of their own, so that another program's generated ones
can be in the same process.
"""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_MESSAGE = re.compile(r"(\w+) \{([^}]*)\}")
_FIELD = re.compile(r"(?:(repeated|map|oneof) )?(?:(?<=oneof )(\w+) )?(\w+) (\w+) = (\d+)")


def message_classes(package: str, text: str, enums: Mapping[str, Mapping[str, int]] | None = None) -> dict[str, Any]:
    """Name of a message -> its class.

    Args:
      package: of the messages.
      text: their fields.
      enums: enumerations that they use, name -> names and numbers of the values.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, values in (enums or {}).items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGE.findall(text):
        message = file.message_type.add(name=name)
        for rule, group, kind, field, number in _FIELD.findall(fields):
            _add_field(message, f".{package}.", rule, group, kind, field, int(number))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in names}


def _add_field(message: Any, prefix: str, rule: str, group: str, kind: str, name: str, number: int) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if rule == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, prefix, "", "", "string", "key", 1)
        _add_field(entry, prefix, "", "", kind, "value", 2)
        kind = f"{message.name}.{entry.name}"
    if rule in ("repeated", "map"):
        field.label = _Field.LABEL_REPEATED
    if rule == "oneof":
        if group not in [one.name for one in message.oneof_decl]:
            message.oneof_decl.add(name=group)
        field.oneof_index = [one.name for one in message.oneof_decl].index(group)
    if kind[0].isupper():  # a message or enumeration of the same file
        field.type_name = prefix + kind
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
