"""Predict, Classify, Regress and MultiInference on TensorFlow Serving's messages, whichever way they came."""

import math
from contextlib import AbstractContextManager
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, predict_pb2, regression_pb2

from tfcxr.server.batching import Batcher
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.servable import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, Servable
from tfcxr.server.serving_error import ServingError, invalid

MAX_REPEATED = 2**20  # values of an input that gives fewer, whose last one is then repeated
MAX_LISTED_VALUES = 2**10  # of an output that is answered value by value; more go as bytes, 50 times as fast
# the name of numpy's kind and size -> the field of TensorProto
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "uint8": "int_val",
    "int16": "int_val",
    "uint16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}
_VALUES = _FIELDS | {"float16": "half_val", "bfloat16": "half_val", "string": "string_val"}


class PredictionService:
    """What requests ask of the models.

    Attributes:
      manager: the models.
      batcher: computes.
    """

    def __init__(self, manager: ModelManager, batcher: Batcher) -> None:
        self.manager, self.batcher = manager, batcher

    def use(self, model_spec: Any) -> AbstractContextManager[Servable]:
        """The version that a `ModelSpec` asks for, see `ModelManager.use`."""
        version = model_spec.version.value if model_spec.HasField("version") else None
        return self.manager.use(model_spec.name, version, model_spec.version_label or None)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """The outputs of a signature, all or those of `output_filter`.

        Raises:
          ServingError: see `ModelManager.use` and `Batcher.submit`; or a tensor that is none.
        """
        with self.use(request.model_spec) as servable:
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            inputs = {name: tensor_of(name, value) for name, value in request.inputs.items()}
            found = self.batcher.submit(servable, signature, inputs, tuple(request.output_filter)).result()
        response = predict_pb2.PredictResponse(model_spec=spec_of(servable, signature))
        for name, value in found.items():
            response.outputs[name].CopyFrom(message_of(value))
        return response

    def classify(self, request: classification_pb2.ClassificationRequest) -> classification_pb2.ClassificationResponse:
        """Classes and scores of each example.

        Raises:
          ServingError: INVALID_ARGUMENT, a signature that does not classify, or outputs of another form.
        """
        with self.use(request.model_spec) as servable:
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            result = self._classify(servable, signature, request.input)
        return classification_pb2.ClassificationResponse(model_spec=spec_of(servable, signature), result=result)

    def regress(self, request: regression_pb2.RegressionRequest) -> regression_pb2.RegressionResponse:
        """A value of each example; raises as `classify` does."""
        with self.use(request.model_spec) as servable:
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            result = self._regress(servable, signature, request.input)
        return regression_pb2.RegressionResponse(model_spec=spec_of(servable, signature), result=result)

    def multi_inference(self, request: inference_pb2.MultiInferenceRequest) -> inference_pb2.MultiInferenceResponse:
        """Several signatures of one model on the same examples.

        Raises:
          ServingError: INVALID_ARGUMENT, several models, a signature twice or one that the model lacks;
            UNIMPLEMENTED, another method than classify and regress.
        """
        specs = [task.model_spec for task in request.tasks]
        names = [spec.signature_name or DEFAULT_SIGNATURE for spec in specs]
        if not specs:
            raise invalid("MultiInferenceRequest has no tasks.")
        if any(not spec.name for spec in specs):
            raise invalid("Found ModelSpec with an empty model name.")
        if len({spec.name for spec in specs}) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if twice := [name for name in names if names.count(name) > 1]:
            raise invalid(f"Duplicate evaluation of signature: {twice[0]}")
        response = inference_pb2.MultiInferenceResponse()
        with self.use(specs[0]) as servable:
            for task, name in zip(request.tasks, names, strict=True):
                if name not in servable.signature_defs:
                    raise invalid(f"Requested signature not found in model graph: {name}")
                result = response.results.add(model_spec=spec_of(servable, name))
                if task.method_name == CLASSIFY:
                    result.classification_result.CopyFrom(self._classify(servable, name, request.input))
                elif task.method_name == REGRESS:
                    result.regression_result.CopyFrom(self._regress(servable, name, request.input))
                else:
                    message = f"Unsupported signature method_name: {task.method_name}"
                    raise ServingError(grpc.StatusCode.UNIMPLEMENTED, message)
        return response

    def _classify(self, servable: Servable, signature: str, given: Any) -> classification_pb2.ClassificationResult:
        found, count = self._run_on_examples(servable, signature, given, CLASSIFY, "classification")
        classes, scores = found.get("classes"), found.get("scores")
        width = next((value.shape[-1] for value in (classes, scores) if value is not None and value.ndim), 0)
        if classes is None and scores is None:
            raise invalid('Expected classification signature outputs to contain at least one of "classes" or "scores".')
        for name, value in (("classes", classes), ("scores", scores)):
            if value is not None and (value.ndim != 2 or len(value) != count):
                raise invalid(
                    f"Expected {name} Tensor shape: [batch_size num_classes] with {count} rows but got {value.shape}"
                )
        result = classification_pb2.ClassificationResult()
        for row in range(count):
            labels = classes[row] if classes is not None else [b""] * width
            values = scores[row] if scores is not None else [0.0] * width
            if len(labels) != len(values):
                raise invalid(
                    f"Tensors class and score should match in dim_size(1). Got {len(labels)} vs. {len(values)}"
                )
            classification = result.classifications.add()
            for label, value in zip(labels, values, strict=True):
                classification.classes.add(label=_text(label), score=float(value))
        return result

    def _regress(self, servable: Servable, signature: str, given: Any) -> regression_pb2.RegressionResult:
        found, count = self._run_on_examples(servable, signature, given, REGRESS, "regression")
        if "outputs" not in found:
            raise invalid("No regression outputs found in SignatureDef")
        values = found["outputs"]
        if values.shape not in ((count,), (count, 1)):
            raise invalid(f"Expected output Tensor of {count} values, one per example, but got shape {values.shape}")
        result = regression_pb2.RegressionResult()
        for value in values.reshape(-1):
            result.regressions.add(value=float(value))
        return result

    def _run_on_examples(
        self, servable: Servable, name: str, given: Any, method: str, what: str
    ) -> tuple[dict[str, np.ndarray], int]:
        if name not in servable.signature_defs:
            raise invalid(f"No signature was found with the name: {name}")
        signature = servable.signature(name)
        if signature.method_name != method and not _takes_examples(signature, method):
            raise invalid(
                f"Expected {what} signature method_name to be {method}. Was: {signature.method_name or 'none'}"
            )
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        examples = serialized_examples(given)
        if not examples:
            raise invalid("Input is empty.")
        (input_name,) = signature.inputs
        found = self.batcher.submit(servable, name, {input_name: np.array(examples, object)}).result()
        return found, len(examples)


def serialized_examples(given: input_pb2.Input) -> list[bytes]:
    """Each example of an `Input`, with the features of the context that all share."""
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        return [example.SerializeToString() for example in given.example_list.examples]
    if kind == "example_list_with_context":
        part = given.example_list_with_context
        context = part.context.SerializeToString()
        return [context + example.SerializeToString() for example in part.examples]  # messages merge when joined
    return []


def tensor_of(name: str, message: Any) -> np.ndarray:
    """The array of a `TensorProto`; strings are an object array of bytes.

    Raises:
      ServingError: INVALID_ARGUMENT, an unknown dtype or fewer values than its shape.
    """
    shape = [side.size for side in message.tensor_shape.dim]
    try:
        if message.tensor_shape.unknown_rank or any(side < 0 for side in shape):
            raise ValueError("its shape is not whole")
        dtype = tf.as_dtype(message.dtype)
        size = math.prod(shape)
        if dtype.name not in _VALUES:
            raise ValueError(f"tensors of dtype {dtype.name} are not taken")
        if not message.tensor_content:
            given = len(getattr(message, _VALUES[dtype.name]))
            if size and not given:
                raise ValueError(f"it has no values for the shape {shape}")
            if size > max(given, MAX_REPEATED):
                raise ValueError(f"it has {given} values for the shape {shape}")
            if not size:
                return np.zeros(shape, dtype.as_numpy_dtype)
        return tf.make_ndarray(message)
    except (TypeError, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise invalid(f"input {name} is no whole tensor: {' '.join(str(error).split())[:200]}") from None


def message_of(value: np.ndarray) -> Any:
    """The `TensorProto` of an array, value by value where it is small, for clients that read no bytes."""
    field = _FIELDS.get(value.dtype.name)
    if field is None or value.size > MAX_LISTED_VALUES:
        return tf.make_tensor_proto(value)
    message = tf.make_tensor_proto(value.dtype.type(0), shape=())
    message.ClearField(field)
    message.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    getattr(message, field).extend(value.reshape(-1).tolist())
    return message


def spec_of(servable: Servable, signature: str) -> dict[str, Any]:
    """The `ModelSpec` of an answer."""
    return {"name": servable.name, "version": {"value": servable.version}, "signature_name": signature}


def _takes_examples(signature: Any, method: str) -> bool:
    """Whether a signature that TensorFlow 2 wrote, which always says predict, has the form of a method."""
    outputs = set(signature.outputs)
    form = outputs == {"outputs"} if method == REGRESS else bool(outputs) and outputs <= {"classes", "scores"}
    return list(signature.inputs) == ["inputs"] and form


def _text(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
