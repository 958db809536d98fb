"""Serves exported models: TensorFlow Serving's protocol and Open Inference Protocol V2 over gRPC and REST, and a page.

    python -m tfcxr.serve --saved_models=saved_models

    curl http://localhost:8501/v1/models/acgan:predict -d '{"instances": [{"seed": 7, "label": [1, 0]}]}'

Flags have the names that TensorFlow Serving's tensorflow_model_server gives them where it has them. New versions are
served as soon as they appear. The server listens on this machine alone unless --host says otherwise, and keeps nothing
of a request.
"""

import dataclasses
import os
import pathlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from absl import logging

import tfcxr
from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, name_and_path, refuse_flags
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from tfcxr.server.access import Tls
    from tfcxr.server.batching import BatchingOptions
    from tfcxr.server.server import ServerOptions

EXTRA = "python -m tfcxr.serve needs the extra serving: pip install '.[serving]' in the checkout"
# of tensorflow_model_server: accepted, and without an effect here
WITHOUT_EFFECT = (
    "rest_api_num_threads",
    "num_load_threads",
    "num_unload_threads",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "per_process_gpu_memory_fraction",
    "platform_config_file",
    "saved_model_tags",
    "num_request_iterations_for_warmup",
    "prefer_tflite_model",
    "enable_profiler",
    "enable_grpc_healthcheck_service",
    "tensorflow_session_config_file",
    "enable_per_model_batching_parameters",
    "remove_unused_fields_from_bundle_metagraph",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_serialization_as_tensor_content",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeArguments(Arguments):
    """Models, addresses and bounds.

    Attributes:
      saved_models: Folder of exported models, each with its numbered versions; or one such model.
      cohorts: Data folders, real or synthetic, that the page shows, such as cohorts/acgan/64.
      training_features: NAME=FILE: refuse pictures of model NAME that are copies of training images, by the file that
        tfcxr.export --training_features wrote.
      model_name: With --model_base_path: the name of its only model.
      model_base_path: Instead of --saved_models: folder of a model's numbered versions.
      model_config_file: Instead of --saved_models: a ModelServerConfig in protobuf's text format.
      model_config_file_poll_wait_seconds: Between looks at --model_config_file; 0 reads it once.
      host: Address to listen at; 0.0.0.0 lets other machines in.
      port: Of gRPC; 0 turns it off.
      rest_api_port: Of REST and the page; 0 turns them off.
      grpc_socket_path: Unix socket for gRPC beside the port.
      grpc_channel_arguments: Further options of gRPC as name=value,name=value.
      grpc_max_threads: Requests of gRPC at once; more are refused.
      rest_api_timeout_in_ms: Milliseconds after which a REST answer is given up.
      rest_api_enable_cors_support: Let web pages of other servers call this one.
      file_system_poll_wait_seconds: Between looks for new versions; 0 looks once.
      max_num_load_retries: Further tries for a version that could not be loaded.
      load_retry_interval_micros: Microseconds between them.
      allow_version_labels_for_unavailable_models: Let a label name a version that is not available.
      enable_model_warmup: Run the warm-up requests of a version before it becomes available.
      enable_batching: Join requests for models of other programs too; those of tfcxr's own are always joined.
      batching_parameters_file: BatchingParameters in protobuf's text format.
      max_request_images: Images or rows of a request, at most.
      max_queue: Requests that wait, at most; more are refused at once.
      max_request_mb: Megabytes of a request, at most.
      monitoring_config_file: MonitoringConfig in protobuf's text format, a further path of the metrics.
      ssl_config_file: SSLConfig in protobuf's text format: key and certificate for both sides.
      tls_key: Instead: file of the private key.
      tls_certificate: Instead: file of the certificate.
      api_token_file: File of a token that every request must carry; or set TFCXR_API_TOKEN.
      rest_api_num_threads: Of tensorflow_model_server; no effect.
      num_load_threads: Of tensorflow_model_server; no effect.
      num_unload_threads: Of tensorflow_model_server; no effect.
      flush_filesystem_caches: Of tensorflow_model_server; no effect.
      tensorflow_session_parallelism: Of tensorflow_model_server; no effect.
      tensorflow_intra_op_parallelism: Of tensorflow_model_server; no effect.
      tensorflow_inter_op_parallelism: Of tensorflow_model_server; no effect.
      per_process_gpu_memory_fraction: Of tensorflow_model_server; no effect.
      platform_config_file: Of tensorflow_model_server; no effect.
      saved_model_tags: Of tensorflow_model_server; no effect.
      num_request_iterations_for_warmup: Of tensorflow_model_server; no effect.
      prefer_tflite_model: Of tensorflow_model_server; no effect, TensorFlow Lite models are not served.
      enable_profiler: Of tensorflow_model_server; no effect.
      enable_grpc_healthcheck_service: Of tensorflow_model_server; no effect, it is always on.
      tensorflow_session_config_file: Of tensorflow_model_server; no effect.
      enable_per_model_batching_parameters: Of tensorflow_model_server; no effect.
      remove_unused_fields_from_bundle_metagraph: Of tensorflow_model_server; no effect.
      num_tflite_pools: Of tensorflow_model_server; no effect.
      num_tflite_interpreters_per_pool: Of tensorflow_model_server; no effect.
      enable_signature_method_name_check: Of tensorflow_model_server; no effect.
      xla_cpu_compilation_enabled: Of tensorflow_model_server; no effect.
      xla_gpu_compilation_enabled: Of tensorflow_model_server; no effect.
      thread_pool_factory_config_file: Of tensorflow_model_server; no effect.
      mixed_precision: Of tensorflow_model_server; no effect.
      skip_initialize_tpu: Of tensorflow_model_server; no effect.
      enable_serialization_as_tensor_content: Of tensorflow_model_server; no effect.
      use_alts_credentials: Of tensorflow_model_server; refused, TLS is what there is.
      version: Print the version and end.
    """

    saved_models: str | None = None
    cohorts: tuple[str, ...] = ()
    training_features: tuple[str, ...] = ()
    model_name: str = "default"
    model_base_path: str | None = None
    model_config_file: str | None = None
    model_config_file_poll_wait_seconds: int = flag(0, minimum=0)
    host: str = "127.0.0.1"
    port: int = flag(8500, minimum=0, maximum=65535)
    rest_api_port: int = flag(8501, minimum=0, maximum=65535)
    grpc_socket_path: str | None = None
    grpc_channel_arguments: str | None = None
    grpc_max_threads: int = flag(64, minimum=1)
    rest_api_timeout_in_ms: int = flag(30000, minimum=1)
    rest_api_enable_cors_support: bool = False
    file_system_poll_wait_seconds: int = flag(1, minimum=0)
    max_num_load_retries: int = flag(5, minimum=0)
    load_retry_interval_micros: int = flag(60_000_000, minimum=0)
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    enable_batching: bool = False
    batching_parameters_file: str | None = None
    max_request_images: int = flag(256, minimum=1)
    max_queue: int = flag(256, minimum=1)
    max_request_mb: int = flag(64, minimum=1)
    monitoring_config_file: str | None = None
    ssl_config_file: str | None = None
    tls_key: str | None = None
    tls_certificate: str | None = None
    api_token_file: str | None = None
    rest_api_num_threads: int | None = None
    num_load_threads: int | None = None
    num_unload_threads: int | None = None
    flush_filesystem_caches: bool | None = None
    tensorflow_session_parallelism: int | None = None
    tensorflow_intra_op_parallelism: int | None = None
    tensorflow_inter_op_parallelism: int | None = None
    per_process_gpu_memory_fraction: float | None = None
    platform_config_file: str | None = None
    saved_model_tags: str | None = None
    num_request_iterations_for_warmup: int | None = None
    prefer_tflite_model: bool | None = None
    enable_profiler: bool | None = None
    enable_grpc_healthcheck_service: bool | None = None
    tensorflow_session_config_file: str | None = None
    enable_per_model_batching_parameters: bool | None = None
    remove_unused_fields_from_bundle_metagraph: bool | None = None
    num_tflite_pools: int | None = None
    num_tflite_interpreters_per_pool: int | None = None
    enable_signature_method_name_check: bool | None = None
    xla_cpu_compilation_enabled: bool | None = None
    xla_gpu_compilation_enabled: bool | None = None
    thread_pool_factory_config_file: str | None = None
    mixed_precision: str | None = None
    skip_initialize_tpu: bool | None = None
    enable_serialization_as_tensor_content: bool | None = None
    use_alts_credentials: bool = False
    version: bool = False


def serve(arguments: ServeArguments) -> None:
    """Serves until Ctrl-C or SIGTERM; requests that run are answered first.

    Raises:
      ImportError: the extra `serving` is not installed.
      FileNotFoundError: a folder or file that is not there.
      ValueError: no models, or flags that do not fit each other.
      OSError: an address is taken.
    """
    a = arguments
    if a.version:
        print(f"tfcxr {tfcxr.__version__}")
        return
    if a.use_alts_credentials:
        raise ValueError("--use_alts_credentials is not supported; give --tls_key and --tls_certificate")
    sources = [name for name in ("saved_models", "model_base_path", "model_config_file") if getattr(a, name)]
    if len(sources) != 1:
        raise ValueError("give one of --saved_models=FOLDER, --model_base_path=FOLDER and --model_config_file=FILE")
    if not a.model_base_path:
        refuse_flags(a, ["model_name"], "it names the model of --model_base_path")
    if not a.model_config_file:
        refuse_flags(a, ["model_config_file_poll_wait_seconds"], "it goes with --model_config_file")
    if a.saved_models and not pathlib.Path(a.saved_models).is_dir():
        raise FileNotFoundError(f"{a.saved_models} does not exist; expected the folder of exported models")
    if not (a.port or a.rest_api_port or a.grpc_socket_path):
        raise ValueError("--port=0 and --rest_api_port=0 leave nothing to listen at")
    if ignored := [name for name in WITHOUT_EFFECT if getattr(a, name) is not None]:
        logging.info("no effect here: %s", ", ".join(f"--{name}" for name in ignored))
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters comes back as a Python error
    try:
        checked = _checked_before_tensorflow(a)
        with tensorflow_started():
            from tfcxr.server.server import Server, log_addresses
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}. {EXTRA}") from error

    options = _options(a, checked)
    stops = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stops.set())
    with Server(options) as server:
        if a.saved_models and not server.manager.names():
            logging.warning("%s holds no exported model yet; versions are served as they appear", a.saved_models)
        log_addresses(server, options)
        while not stops.wait(1.0):  # a wait without an end would not see the signal
            pass
        logging.info("stopping; requests that run are answered first")


def _checked_before_tensorflow(a: ServeArguments) -> dict[str, Any]:
    """Those of `ServerOptions` whose files and texts may be wrong."""
    from tfcxr.server.access import read_access
    from tfcxr.server.text_messages import read_text_message

    metrics_path = ""
    if a.monitoring_config_file:
        monitoring = read_text_message(a.monitoring_config_file, "MonitoringConfig").prometheus_config
        metrics_path = (monitoring.path or "/monitoring/prometheus/metrics") if monitoring.enable else ""
    if a.model_config_file:
        read_text_message(a.model_config_file, "ModelServerConfig")
    return {
        "channel_arguments": _channel_arguments(a.grpc_channel_arguments or ""),
        "access": read_access(a.api_token_file),
        "tls": _tls(a),
        "metrics_path": metrics_path,
        "training_features": _training_features(a.training_features),
    }


def _options(a: ServeArguments, checked: dict[str, Any]) -> "ServerOptions":
    from tfcxr.server.server import ServerOptions

    polls = [a.file_system_poll_wait_seconds, a.model_config_file_poll_wait_seconds]
    return ServerOptions(
        models=_models(a),
        host=a.host,
        grpc_port=a.port or None,
        rest_port=a.rest_api_port or None,
        grpc_socket=a.grpc_socket_path or "",
        poll_seconds=min((poll for poll in polls if poll), default=0),
        warms_up=a.enable_model_warmup,
        load_retries=a.max_num_load_retries,
        retry_seconds=a.load_retry_interval_micros / 1e6,
        batching=_batching(a),
        max_request_bytes=a.max_request_mb * 2**20,
        timeout_seconds=a.rest_api_timeout_in_ms / 1000,
        grpc_requests=a.grpc_max_threads,
        allows_other_origins=a.rest_api_enable_cors_support,
        allows_labels_of_unavailable=a.allow_version_labels_for_unavailable_models,
        reload_root=pathlib.Path(a.saved_models) if a.saved_models else None,
        cohorts=a.cohorts,
        **checked,
    )


def _models(a: ServeArguments) -> Any:
    """What is served, asked at every poll."""
    from tfcxr.server.served_models import ServedModel, models_in, models_of_file

    if a.saved_models:
        folder = a.saved_models
        return lambda: models_in(folder)
    if a.model_base_path:
        only = [ServedModel(a.model_name, pathlib.Path(a.model_base_path))]
        return lambda: only
    path = a.model_config_file or ""
    read = models_of_file(path)
    return (lambda: models_of_file(path)) if a.model_config_file_poll_wait_seconds else (lambda: read)


def _batching(a: ServeArguments) -> "BatchingOptions":
    """Bounds by --batching_parameters_file, where given, and the flags."""
    from tfcxr.server.batching import BatchingOptions
    from tfcxr.server.text_messages import read_text_message

    options = BatchingOptions(
        max_queue=a.max_queue, max_request_rows=a.max_request_images, joins_foreign=a.enable_batching
    )
    if not a.batching_parameters_file:
        return options
    if not a.enable_batching:
        raise ValueError("--batching_parameters_file goes with --enable_batching")
    given = read_text_message(a.batching_parameters_file, "BatchingParameters")
    changes: dict[str, Any] = {}
    if given.HasField("max_batch_size"):
        changes["max_rows"] = given.max_batch_size.value
    if given.HasField("batch_timeout_micros"):
        changes["wait_seconds"] = given.batch_timeout_micros.value / 1e6
    if given.HasField("max_enqueued_batches"):
        changes["max_queue"] = given.max_enqueued_batches.value * changes.get("max_rows", options.max_rows)
    if given.HasField("num_batch_threads"):
        changes["threads"] = given.num_batch_threads.value
    if wrong := [name for name, value in changes.items() if value < (0 if name == "wait_seconds" else 1)]:
        raise ValueError(f"{a.batching_parameters_file}: {wrong[0]} must be above 0, got {changes[wrong[0]]}")
    return dataclasses.replace(options, **changes)


def _training_features(texts: tuple[str, ...]) -> dict[str, str]:
    named = [name_and_path(text) for text in texts]
    if wrong := [path for name, path in named if not name]:
        raise ValueError(f"--training_features={wrong[0]} needs a model's name; expected NAME=FILE")
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--training_features names {twice[0]} twice")
    return dict(named)


def _channel_arguments(text: str) -> tuple[tuple[str, Any], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"--grpc_channel_arguments must be name=value,name=value; got {wrong[0]!r}")
    return tuple((name, int(value) if value.lstrip("-").isdecimal() else value) for name, _, value in pairs)


def _tls(a: ServeArguments) -> "Tls | None":
    from tfcxr.server.access import Tls, read_tls
    from tfcxr.server.text_messages import read_text_message

    if a.ssl_config_file:
        refuse_flags(a, ["tls_key", "tls_certificate"], "--ssl_config_file holds both")
        given = read_text_message(a.ssl_config_file, "SSLConfig")
        if given.client_verify and not given.custom_ca:
            raise ValueError(f"{a.ssl_config_file}: client_verify needs custom_ca, whose clients alone are let in")
        return Tls(given.server_key, given.server_cert, given.custom_ca if given.client_verify else "")
    return read_tls(a.tls_key, a.tls_certificate)


if __name__ == "__main__":
    command_line.run(serve)
