"""What may happen to a server: versions come half copied, go while in use, its process is killed, strangers call."""

import contextlib
import gc
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import httpx
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfcxr.server.access import Access, Tls
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.served_models import ServedModel, models_in, models_of_file
from tfcxr.server.server import Server, ServerOptions

HALF = "/v1/models/half"
ONE = {"instances": [1.0]}
WAIT_SECONDS = 120.0  # the longest that a busy machine may need


@contextlib.contextmanager
def client_of(server: Server, **options) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.rest_address}", timeout=60, **options) as client:
        yield client


def until(check, what):
    """Waits until `check()` is true."""
    end = time.monotonic() + WAIT_SECONDS
    while not check():
        assert time.monotonic() < end, f"not within {WAIT_SECONDS:g} seconds: {what}"
        time.sleep(0.05)


def states(rest):
    found = rest.get(HALF).json().get("model_version_status", [])
    return {int(one["version"]): (one["state"], one["status"]["error_code"]) for one in found}


def answers(rest, path=HALF):
    return rest.post(f"{path}:predict", json=ONE).json().get("predictions")


class Caller(threading.Thread):
    """Sends request after request until it is asked to stop; `found` has every answer."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._stops, self.found = server, threading.Event(), []
        self.start()

    def run(self) -> None:
        with client_of(self._server) as rest:
            while not self._stops.is_set():
                answer = rest.post(f"{HALF}:predict", json=ONE)
                self.found.append((answer.status_code, answer.text))

    def stop(self) -> set:
        self._stops.set()
        self.join()
        return set(self.found)


@pytest.mark.thorough
def test_versions_come_half_copied_and_go_while_requests_run(save_half_plus_two, tmp_path):
    made = {number: save_half_plus_two(tmp_path / "made" / str(number), added=float(number)) for number in (1, 2)}
    models = tmp_path / "models"
    shutil.copytree(made[1], models / "half" / "1")
    with (
        Server(ServerOptions(models=lambda: models_in(models), grpc_port=None, poll_seconds=0.1)) as server,
        client_of(server) as rest,
    ):
        assert answers(rest) == [1.5]
        caller = Caller(server)

        (models / "half" / "2" / "variables").mkdir(parents=True)  # as a slow copy makes it
        for name in ("saved_model.pb", "variables/variables.index", "fingerprint.pb"):
            shutil.copy(made[2] / name, models / "half" / "2" / name)
        data = models / "half" / "2" / "variables" / "variables.data-00000-of-00001"
        data.touch()
        until(lambda: states(rest).get(2, ("", ""))[0] == "END", "the half version fails")
        assert states(rest) == {2: ("END", "FAILED_PRECONDITION"), 1: ("AVAILABLE", "OK")} and answers(rest) == [1.5]
        message = rest.get(f"{HALF}/versions/2").json()["model_version_status"][0]["status"]["error_message"]
        assert "version 2 of half is a damaged SavedModel" in message and str(tmp_path) not in message
        with data.open("ab") as rest_of_it:  # changes no folder, only the file
            rest_of_it.write((made[2] / "variables" / "variables.data-00000-of-00001").read_bytes())
        until(lambda: states(rest).get(1) == ("END", "OK"), "the whole version takes over")
        assert states(rest)[2] == ("AVAILABLE", "OK") and answers(rest) == [2.5]

        (models / "half" / "3").mkdir()
        (models / "half" / "3" / "saved_model.pb").write_bytes(b"damaged")
        until(lambda: states(rest).get(3, ("", ""))[0] == "END", "the damaged version fails")
        assert states(rest)[2] == ("AVAILABLE", "OK") and answers(rest) == [2.5]
        shutil.rmtree(models / "half" / "3")
        shutil.rmtree(models / "half" / "2")
        until(lambda: answers(rest) == [1.5], "the older version is back")

        assert caller.stop() == {(200, '{"predictions": [1.5]}'), (200, '{"predictions": [2.5]}')}
        shutil.rmtree(models / "half")
        until(lambda: answers(rest) is None, "the model is gone")
        said = rest.post(f"{HALF}:predict", json=ONE)
        assert said.status_code == 404 and said.json() == {"error": "Servable not found for request: Latest(half)"}


@pytest.mark.thorough
def test_a_configuration_file_that_changes(save_half_plus_two, tmp_path):
    for number in (1, 2, 3):
        save_half_plus_two(tmp_path / "half" / str(number), added=float(number))
    file = tmp_path / "models.config"

    def write(policy, rest_of_it=""):
        base = f'name: "half" base_path: "{tmp_path / "half"}" model_platform: "tensorflow"'
        file.write_text(f"model_config_list {{ config {{ {base} {policy} {rest_of_it} }} }}")

    write("")
    with (
        Server(ServerOptions(models=lambda: models_of_file(file), grpc_port=None, poll_seconds=0.1)) as server,
        client_of(server) as rest,
    ):
        assert states(rest) == {3: ("AVAILABLE", "OK")}

        def available():
            return {number for number, state in states(rest).items() if state[0] == "AVAILABLE"}

        file.write_text("model_config_list { config {")  # half written: everything stays
        time.sleep(0.5)
        assert available() == {3}
        write("model_version_policy { all {} }", 'version_labels { key: "stable" value: 1 }')
        until(lambda: available() == {1, 2, 3}, "all versions")
        assert answers(rest) == [3.5] and answers(rest, f"{HALF}/versions/2") == [2.5]
        assert answers(rest, f"{HALF}/labels/stable") == [1.5]
        write("model_version_policy { latest { num_versions: 2 } }", 'version_labels { key: "stable" value: 2 }')
        until(lambda: available() == {2, 3}, "the latest two")
        assert answers(rest, f"{HALF}/labels/stable") == [2.5]
        write("model_version_policy { specific { versions: 1 } }")
        until(lambda: available() == {1}, "version 1 alone")
        assert answers(rest) == [1.5]
        assert rest.post(f"{HALF}/labels/stable:predict", json=ONE).status_code == 400


def test_looking_for_models_goes_on_whatever_fails():
    looks = threading.Semaphore(0)

    def models():
        looks.release()
        if threading.current_thread() is not threading.main_thread():
            raise ArithmeticError("no models today")
        return []

    manager = ModelManager(models, poll_seconds=0.01)
    manager.start()
    assert all(looks.acquire(timeout=WAIT_SECONDS) for _ in range(4))
    manager.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Tls:
    """Of "localhost", signed by itself, as the program openssl makes it."""
    if not (program := shutil.which("openssl")):
        pytest.skip("the program openssl is not there to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    return Tls((folder / "key").read_text(), (folder / "cert").read_text())


def predict(channel, model, token=None):
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    metadata = [("authorization", f"Bearer {token}")] if token else None
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30, metadata=metadata)
    return answer.outputs["y"].float_val[0]


def code_of(call, *arguments):
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments)
    return raised.value.code()


def half_alone(half_plus_two, **options) -> ServerOptions:
    model = ServedModel("half", half_plus_two.parent)
    return ServerOptions(models=lambda: [model], poll_seconds=0, **options)


def test_tls(half_plus_two, certificate):
    context = ssl.create_default_context(cadata=certificate.certificate)
    trusted = grpc.ssl_channel_credentials(certificate.certificate.encode())
    with Server(half_alone(half_plus_two, tls=certificate)) as server:
        with httpx.Client(base_url=f"https://{server.rest_address}", verify=context, timeout=60) as rest:
            assert answers(rest) == [2.5]
        with grpc.secure_channel(server.grpc_address, trusted) as channel:
            assert predict(channel, "half") == 2.5
        with client_of(server) as plain, pytest.raises(httpx.HTTPError):
            plain.get(HALF)
        with grpc.insecure_channel(server.grpc_address) as channel:
            assert code_of(predict, channel, "half") is grpc.StatusCode.UNAVAILABLE


@pytest.mark.thorough
def test_tls_that_asks_for_a_client_s_certificate(half_plus_two, certificate):
    tls = Tls(certificate.key, certificate.certificate, client_authority=certificate.certificate)
    root, key = certificate.certificate.encode(), certificate.key.encode()
    with Server(half_alone(half_plus_two, tls=tls)) as server:
        with grpc.secure_channel(server.grpc_address, grpc.ssl_channel_credentials(root, key, root)) as channel:
            assert predict(channel, "half") == 2.5
        with grpc.secure_channel(server.grpc_address, grpc.ssl_channel_credentials(root)) as channel:
            assert code_of(predict, channel, "half") is grpc.StatusCode.UNAVAILABLE
        context = ssl.create_default_context(cadata=certificate.certificate)
        with (
            httpx.Client(base_url=f"https://{server.rest_address}", verify=context, timeout=60) as rest,
            pytest.raises(httpx.HTTPError),
        ):
            rest.get(HALF)


def test_a_key_of_another_certificate_is_refused(certificate):
    with pytest.raises(ValueError, match="TLS: expected a certificate, its key without a password"):
        Tls("nonsense", certificate.certificate)
    with pytest.raises(ValueError, match="TLS: expected"):
        Tls(certificate.key, certificate.certificate, "nonsense")


def test_the_api_token_opens_rest_and_grpc_and_health_needs_none(half_plus_two):
    with (
        Server(half_alone(half_plus_two, access=Access("sesame"))) as server,
        client_of(server) as rest,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        for headers in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "sesame"},
            {"Authorization": "Basic sesame"},
        ):
            for answer in (rest.post(f"{HALF}:predict", json=ONE, headers=headers), rest.get(HALF, headers=headers),
                           rest.get("/openapi.json", headers=headers)):  # fmt: skip
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
                assert answer.json() == {"error": "this server needs its API token: Authorization: Bearer TOKEN"}
        opened = rest.post(f"{HALF}:predict", json=ONE, headers={"Authorization": "Bearer sesame"})
        assert opened.json() == {"predictions": [2.5]}
        assert all(rest.get(path).status_code == 200 for path in ("/livez", "/readyz", "/healthz"))
        for token in (None, "other"):
            assert code_of(predict, channel, "half", token) is grpc.StatusCode.UNAUTHENTICATED
        assert predict(channel, "half", "sesame") == 2.5
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.thorough
def test_pages_of_other_servers_and_other_machines_are_kept_out_by_default(half_plus_two):
    origin = {"Origin": "http://other.example"}
    asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with Server(half_alone(half_plus_two)) as server, client_of(server) as rest:
        for answer in (rest.post(f"{HALF}:predict", json=ONE, headers=origin),
                       rest.options(f"{HALF}:predict", headers=asked)):  # fmt: skip
            assert not [name for name in answer.headers if name.startswith("access-control")]
        for address in (server.rest_address, server.grpc_address):
            host, port = address.split(":")
            assert host == "127.0.0.1"
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.2", int(port)), 5)
    with (
        Server(half_alone(half_plus_two, grpc_port=None, allows_other_origins=True)) as server,
        client_of(server) as rest,
    ):
        assert rest.post(f"{HALF}:predict", json=ONE, headers=origin).headers["access-control-allow-origin"] == "*"
        assert rest.options(f"{HALF}:predict", headers=asked).status_code == 200


def resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.thorough
def test_unloading_gives_memory_back(tiny_export):
    model = ServedModel("tiny", tiny_export.parent)
    manager = ModelManager(lambda: [], poll_seconds=0)
    manager.start()

    def load_and_unload():
        manager.apply([model])
        with manager.use("tiny") as servable:
            outputs = servable.run(
                "", {"seed": tf.range(8, dtype=tf.int64).numpy(), "label": tf.eye(2).numpy()[[0] * 8]}
            )
        assert outputs["image"].shape == (8, 32, 32, 1)
        manager.apply([])
        gc.collect()

    for _ in range(2):  # what TensorFlow keeps once
        load_and_unload()
    before = resident_mib()
    for _ in range(6):  # 20 MiB each where it is kept
        load_and_unload()
    assert resident_mib() - before < 50
    manager.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextlib.contextmanager
def process_of(saved_models, rest_port, grpc_port) -> Iterator[subprocess.Popen]:
    """`python -m tfcxr.serve`, ready."""
    flags = [f"--saved_models={saved_models}", f"--rest_api_port={rest_port}", f"--port={grpc_port}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tfcxr.serve", *flags]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:

        def is_ready():
            assert process.poll() is None, process.stderr.read()
            try:
                return httpx.get(f"http://127.0.0.1:{rest_port}/readyz", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        until(is_ready, "the process is ready")
        yield process
    finally:
        process.kill()
        process.wait()


class Slow(tf.Module):
    """Counts to `x` one by one."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def count(self, x):
        return {"y": tf.while_loop(lambda y: tf.reduce_all(y < x), lambda y: (y + 1,), (tf.zeros_like(x),))[0]}


@pytest.mark.thorough
def test_kill_and_restart_lose_nothing_and_sigterm_answers_what_runs(tiny_export, tmp_path):
    slow = Slow()
    tf.saved_model.save(slow, str(tmp_path / "slow" / "1"), signatures={"serving_default": slow.count})
    shutil.copytree(tiny_export, tmp_path / "tiny" / "1")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    rest_port, grpc_port = free_port(), free_port()
    base = f"http://127.0.0.1:{rest_port}/v1/models"
    picture = {"instances": [{"seed": 7, "label": [1, 0]}]}
    counted = {}

    def count(to, key):
        counted[key] = httpx.post(f"{base}/slow:predict", json={"instances": [to]}, timeout=WAIT_SECONDS)

    with process_of(tmp_path, rest_port, grpc_port) as process:
        first = httpx.post(f"{base}/tiny:predict", json=picture, timeout=60).json()
        begun = time.monotonic()
        count(20_000.0, "quick")
        steps = 20_000 * 3 / (time.monotonic() - begun)  # in 3 seconds
        process.send_signal(signal.SIGKILL)
        process.wait()
    with process_of(tmp_path, rest_port, grpc_port) as process:
        assert httpx.post(f"{base}/tiny:predict", json=picture, timeout=60).json() == first
        caller = threading.Thread(target=count, args=(float(round(steps)), "slow"))
        caller.start()
        time.sleep(1.0)
        process.terminate()
        caller.join()
        assert counted["slow"].json() == {"predictions": [round(steps)]}
        _, said = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0 and "stopping; requests that run are answered first" in said
        assert "Traceback" not in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
