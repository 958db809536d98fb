"""The messages of Open Inference Protocol V2's gRPC service.

`kserve/open-inference-protocol` publishes them as `open_inference_grpc.proto`, package `inference`. Messages that are
nested there stand beside the others here, which the bytes do not show.
"""

from typing import Any

from tfcxr.data.message_classes import message_classes

_PACKAGE = "inference"
SERVICE = f"{_PACKAGE}.GRPCInferenceService"
_DEFINITIONS = """
ServerLiveRequest { }
ServerLiveResponse { bool live = 1 }
ServerReadyRequest { }
ServerReadyResponse { bool ready = 1 }
ModelReadyRequest { string name = 1, string version = 2 }
ModelReadyResponse { bool ready = 1 }
ServerMetadataRequest { }
ServerMetadataResponse { string name = 1, string version = 2, repeated string extensions = 3 }
ModelMetadataRequest { string name = 1, string version = 2 }
ModelMetadataResponse {
  string name = 1, repeated string versions = 2, string platform = 3, repeated TensorMetadata inputs = 4,
  repeated TensorMetadata outputs = 5
}
TensorMetadata { string name = 1, string datatype = 2, repeated int64 shape = 3 }
InferParameter {
  oneof parameter_choice bool bool_param = 1, oneof parameter_choice int64 int64_param = 2,
  oneof parameter_choice string string_param = 3, oneof parameter_choice double double_param = 4,
  oneof parameter_choice uint64 uint64_param = 5
}
InferTensorContents {
  repeated bool bool_contents = 1, repeated int32 int_contents = 2, repeated int64 int64_contents = 3,
  repeated uint32 uint_contents = 4, repeated uint64 uint64_contents = 5, repeated float fp32_contents = 6,
  repeated double fp64_contents = 7, repeated bytes bytes_contents = 8
}
InferTensor {
  string name = 1, string datatype = 2, repeated int64 shape = 3, map InferParameter parameters = 4,
  InferTensorContents contents = 5
}
InferRequestedOutputTensor { string name = 1, map InferParameter parameters = 2 }
ModelInferRequest {
  string model_name = 1, string model_version = 2, string id = 3, map InferParameter parameters = 4,
  repeated InferTensor inputs = 5, repeated InferRequestedOutputTensor outputs = 6,
  repeated bytes raw_input_contents = 7
}
ModelInferResponse {
  string model_name = 1, string model_version = 2, string id = 3, map InferParameter parameters = 4,
  repeated InferTensor outputs = 5, repeated bytes raw_output_contents = 6
}
"""
MESSAGES: dict[str, Any] = message_classes(_PACKAGE, _DEFINITIONS)  # name -> class
