"""The messages of TensorFlow Serving's gRPC protocol that a client and warm-up requests need, without TensorFlow.

They have the fields and numbers of TensorFlow's and TensorFlow Serving's published definitions, so the bytes are the
same; fields that no client of ours reads or writes are left out, and skipped when they come. Importing the published
stubs would import TensorFlow.
"""

from tfcxr.data.message_classes import message_classes

DATA_TYPES = {
    "DT_INVALID": 0,
    "DT_FLOAT": 1,
    "DT_DOUBLE": 2,
    "DT_INT32": 3,
    "DT_UINT8": 4,
    "DT_INT16": 5,
    "DT_INT8": 6,
    "DT_STRING": 7,
    "DT_INT64": 9,
    "DT_BOOL": 10,
    "DT_UINT16": 17,
    "DT_HALF": 19,
    "DT_UINT32": 22,
    "DT_UINT64": 23,
}
_DEFINITIONS = """
Dim { int64 size = 1 }
TensorShapeProto { repeated Dim dim = 2, bool unknown_rank = 3 }
TensorProto {
  DataType dtype = 1, TensorShapeProto tensor_shape = 2, bytes tensor_content = 4, repeated float float_val = 5,
  repeated double double_val = 6, repeated int32 int_val = 7, repeated bytes string_val = 8,
  repeated int64 int64_val = 10, repeated bool bool_val = 11, repeated int32 half_val = 13,
  repeated uint32 uint32_val = 16, repeated uint64 uint64_val = 17
}
TensorInfo { string name = 1, DataType dtype = 2, TensorShapeProto tensor_shape = 3 }
SignatureDef {
  map TensorInfo inputs = 1, map TensorInfo outputs = 2, string method_name = 3, map TensorProto defaults = 4
}
SignatureDefMap { map SignatureDef signature_def = 1 }
Int64Value { int64 value = 1 }
StringValue { string value = 1 }
Any { string type_url = 1, bytes value = 2 }
StatusProto { int32 error_code = 1, string error_message = 2 }
ModelSpec { string name = 1, Int64Value version = 2, string signature_name = 3 }
PredictRequest { ModelSpec model_spec = 1, map TensorProto inputs = 2 }
PredictResponse { map TensorProto outputs = 1 }
GetModelMetadataRequest { ModelSpec model_spec = 1, repeated string metadata_field = 2 }
GetModelMetadataResponse { map Any metadata = 2 }
GetModelStatusRequest { ModelSpec model_spec = 1 }
ModelVersionStatus { int64 version = 1, int32 state = 2, StatusProto status = 3 }
GetModelStatusResponse { repeated ModelVersionStatus model_version_status = 1 }
PredictLog { PredictRequest request = 1 }
PredictionLog { PredictLog predict_log = 6 }
"""
STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
MESSAGES = message_classes("tfcxr.client", _DEFINITIONS, {"DataType": DATA_TYPES})
