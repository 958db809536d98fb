"""`tf.train.Example`, the message that a record is, without TensorFlow.

It has the fields and numbers of TensorFlow's `example.proto` and `feature.proto`, so the bytes are the same. It has a
descriptor pool of its own, so that both classes can be in one process.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_LISTS = {"bytes_list": _Field.TYPE_BYTES, "float_list": _Field.TYPE_FLOAT, "int64_list": _Field.TYPE_INT64}
_PACKAGE = "tensorflow"


def _define_example() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=_PACKAGE, syntax="proto3")
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, value_type) in enumerate(_LISTS.items(), start=1):
        type_name = name.title().replace("_", "")
        values = file.message_type.add(name=type_name)
        values.field.add(name="value", number=1, label=_Field.LABEL_REPEATED, type=value_type)
        feature.field.add(name=name, number=number, type_name=f".{_PACKAGE}.{type_name}", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING)
    entry.field.add(name="value", number=2, type_name=f".{_PACKAGE}.Feature")
    features.field.add(
        name="feature", number=1, label=_Field.LABEL_REPEATED, type_name=f".{_PACKAGE}.Features.FeatureEntry"
    )
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type_name=f".{_PACKAGE}.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


Example: Any = _define_example()
