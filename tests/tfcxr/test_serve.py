"""The command python -m tfcxr.serve: its flags, and what it says of wrong ones before it listens."""

import os
import socket
import subprocess
import sys

import pytest

import tfcxr
from tfcxr import command_line
from tfcxr.command_line import parse
from tfcxr.serve import WITHOUT_EFFECT, ServeArguments, serve

# every flag of tensorflow_model_server
MODEL_SERVER_FLAGS = {
    "port": "0",
    "grpc_socket_path": "x.sock",
    "rest_api_port": "8501",
    "rest_api_num_threads": "4",
    "rest_api_timeout_in_ms": "5000",
    "rest_api_enable_cors_support": "true",
    "enable_batching": "true",
    "allow_version_labels_for_unavailable_models": "false",
    "batching_parameters_file": "x",
    "enable_per_model_batching_parameters": "true",
    "model_config_file": "x",
    "model_config_file_poll_wait_seconds": "5",
    "model_name": "default",
    "model_base_path": "x",
    "num_load_threads": "0",
    "num_unload_threads": "0",
    "max_num_load_retries": "5",
    "load_retry_interval_micros": "60000000",
    "file_system_poll_wait_seconds": "1",
    "flush_filesystem_caches": "true",
    "tensorflow_session_parallelism": "0",
    "tensorflow_session_config_file": "x",
    "tensorflow_intra_op_parallelism": "0",
    "tensorflow_inter_op_parallelism": "0",
    "use_alts_credentials": "false",
    "ssl_config_file": "x",
    "platform_config_file": "x",
    "per_process_gpu_memory_fraction": "0.5",
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "grpc.so_reuseaddr=1",
    "grpc_max_threads": "8",
    "enable_model_warmup": "false",
    "num_request_iterations_for_warmup": "2",
    "version": "false",
    "monitoring_config_file": "x",
    "remove_unused_fields_from_bundle_metagraph": "true",
    "prefer_tflite_model": "false",
    "num_tflite_pools": "1",
    "num_tflite_interpreters_per_pool": "1",
    "enable_signature_method_name_check": "false",
    "xla_cpu_compilation_enabled": "false",
    "xla_gpu_compilation_enabled": "false",
    "enable_profiler": "true",
    "thread_pool_factory_config_file": "x",
    "mixed_precision": "x",
    "skip_initialize_tpu": "false",
    "enable_grpc_healthcheck_service": "true",
    "enable_serialization_as_tensor_content": "false",
}


def refusal(capsys, *words):
    """The only line that the command prints for a mistake."""
    with pytest.raises(SystemExit) as raised:
        command_line.run(serve, ["serve", *words])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert raised.value.code == 1
    return line.removeprefix("error: ")


def test_every_flag_of_tensorflow_model_server_is_accepted():
    for name, value in MODEL_SERVER_FLAGS.items():
        arguments, _ = parse(serve, ["serve", f"--{name}={value}"])
        assert isinstance(arguments, ServeArguments)
        if name in WITHOUT_EFFECT:
            assert getattr(arguments, name) is not None
    assert MODEL_SERVER_FLAGS.keys() >= set(WITHOUT_EFFECT)


WHOLE = {"port": 65535, "rest_api_port": 65535, "grpc_max_threads": 1, "rest_api_timeout_in_ms": 1,
         "file_system_poll_wait_seconds": 0, "model_config_file_poll_wait_seconds": 0, "max_num_load_retries": 0,
         "load_retry_interval_micros": 0, "max_request_images": 1, "max_queue": 1, "max_request_mb": 1}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_numbers_that_are_none_or_out_of_range(capsys, name):
    assert f"--{name}=many" in refusal(capsys, f"--{name}=many")
    limit = WHOLE[name]
    wrong = limit + 1 if limit == 65535 else limit - 1
    said = refusal(capsys, f"--{name}={wrong}")
    assert said.startswith(f"--{name} must be ") and said.endswith(f"got {wrong}")


def test_truth_values_that_are_none(capsys):
    for name in ("enable_batching", "enable_model_warmup", "rest_api_enable_cors_support"):
        assert f"--{name}=perhaps" in refusal(capsys, f"--{name}=perhaps")


def write(path, text):
    path.write_text(text)
    return path


def test_models_and_addresses_that_are_none(capsys, tmp_path):
    one_of = "give one of --saved_models=FOLDER, --model_base_path=FOLDER and --model_config_file=FILE"
    assert refusal(capsys) == one_of
    folder = f"--saved_models={tmp_path}"
    assert refusal(capsys, folder, f"--model_base_path={tmp_path}") == one_of
    assert "none does not exist; expected the folder" in refusal(capsys, f"--saved_models={tmp_path / 'none'}")
    assert "nothing to listen at" in refusal(capsys, folder, "--port=0", "--rest_api_port=0")
    assert "--model_name would have no effect" in refusal(capsys, folder, "--model_name=x")
    assert "would have no effect" in refusal(capsys, folder, "--model_config_file_poll_wait_seconds=5")
    assert "Did you mean: " in refusal(capsys, "--saved_model=x") and "unexpected argument" in refusal(capsys, "x")
    assert "--use_alts_credentials is not supported" in refusal(capsys, folder, "--use_alts_credentials")
    assert "none does not exist" in refusal(capsys, f"--model_config_file={tmp_path / 'none'}")
    broken = write(tmp_path / "models.config", "model_config_list: {\n  config: { nome: 'x' }\n}")
    said = refusal(capsys, f"--model_config_file={broken}")
    assert said.startswith("Error parsing text-format tensorflow.serving.ModelServerConfig") and "2:" in said
    for text, expected in (
        ("model_config_list { config { name: 'a' } }", "needs a name and a base_path"),
        ("model_config_list { config { name: 'a' base_path: 'b' } }", "base_path of a must be absolute, got b"),
        (
            "model_config_list { config { name: 'a' base_path: '/b' model_platform: 'c' } }",
            "only 'tensorflow' is served",
        ),
        (
            "model_config_list { config { name: 'a' base_path: '/b' } config { name: 'a' base_path: '/c' } }",
            "listed twice",
        ),
        ("custom_model_config {}", "custom_model_config is not supported"),
    ):
        config = write(tmp_path / "models.config", text)
        assert expected in refusal(capsys, f"--model_config_file={config}")


def test_files_of_other_kinds_that_are_wrong(capsys, tmp_path):
    folder, other = f"--saved_models={tmp_path}", write(tmp_path / "other.txt", "nonsense {")
    for name in ("monitoring_config_file", "ssl_config_file"):
        assert "none does not exist" in refusal(capsys, folder, f"--{name}={tmp_path / 'none'}")
        assert "Error parsing text-format" in refusal(capsys, folder, f"--{name}={other}")
    assert "goes with --enable_batching" in refusal(capsys, folder, f"--batching_parameters_file={other}")
    batching = [folder, "--enable_batching", f"--batching_parameters_file={other}"]
    assert "Error parsing text-format" in refusal(capsys, *batching)
    write(other, "num_batch_threads { value: 0 }")
    assert "threads must be above 0, got 0" in refusal(capsys, *batching)
    write(other, "max_batch_size { value: -4 }")
    assert "max_rows must be above 0, got -4" in refusal(capsys, *batching)
    assert "must be name=value,name=value; got 'x'" in refusal(capsys, folder, "--grpc_channel_arguments=x")
    assert "none does not exist; expected a file that holds the token" in refusal(
        capsys, folder, f"--api_token_file={tmp_path / 'none'}"
    )
    assert "is empty; expected the token" in refusal(capsys, folder, f"--api_token_file={write(other, ' ')}")


def test_tls_that_is_wrong(capsys, tmp_path):
    folder, file = f"--saved_models={tmp_path}", write(tmp_path / "file.pem", "nonsense")
    assert "--tls_key and --tls_certificate go together" in refusal(capsys, folder, f"--tls_key={file}")
    both = [folder, f"--tls_key={file}", f"--tls_certificate={file}"]
    assert refusal(capsys, *both).startswith("TLS: expected a certificate, its key without a password")
    missing = [folder, f"--tls_key={file}", f"--tls_certificate={tmp_path / 'none'}"]
    assert "none does not exist; expected a file in PEM" in refusal(capsys, *missing)
    config = write(tmp_path / "ssl.config", "server_key: 'a' server_cert: 'b' client_verify: true")
    assert "client_verify needs custom_ca" in refusal(capsys, folder, f"--ssl_config_file={config}")
    assert "would have no effect" in refusal(capsys, folder, f"--ssl_config_file={config}", *both[1:])


def test_an_address_that_is_taken(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = f"--saved_models={tmp_path}"
        said = refusal(capsys, folder, "--port=0", f"--rest_api_port={port}")
        assert said == f"REST cannot listen on 127.0.0.1:{port}: Address already in use; is another server there?"
        said = refusal(capsys, folder, "--rest_api_port=0", f"--port={port}")
        assert said == f"gRPC cannot listen on 127.0.0.1:{port}: is another server running there?"
        said = refusal(capsys, folder, "--port=0", "--host=no.such.host.invalid")
        assert said.startswith("REST cannot listen on no.such.host.invalid:8501")


def test_the_version(capsys):
    command_line.run(serve, ["serve", "--version"])
    assert capsys.readouterr().out == f"tfcxr {tfcxr.__version__}\n"


def test_help_without_tensorflow():
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['grpc'] = sys.modules['fastapi'] = None; "
        "from tfcxr import command_line; from tfcxr.serve import serve; command_line.run(serve)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, "--help"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert all(f"  --{name}\n" in done.stdout for name in MODEL_SERVER_FLAGS)
    program = program.replace("= None; ", "= None; sys.argv = ['serve', '--saved_models=.']; ", 1)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "python -m tfcxr.serve needs the extra serving" in done.stderr
