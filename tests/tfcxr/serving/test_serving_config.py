"""TensorFlow Serving's configuration of a folder of models, read with its own messages."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfcxr.export import ExportArguments, export
from tfcxr.serving.message_size import CLIENT_LIMIT, images_per_answer
from tfcxr.serving.serving_config import write_serving_config


@pytest.fixture
def saved_models(tmp_path):
    for name in ("acgan/1", "acgan/12", "cascade/3", "notes/drafts", "empty/1"):
        (tmp_path / name).mkdir(parents=True)
        if name[0] in "acn":
            (tmp_path / name / "saved_model.pb").write_bytes(b"")
    return tmp_path


def test_every_model_is_named_with_its_path_in_the_container(saved_models):
    messages = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason="needs extra serving")
    path, *_ = write_serving_config(saved_models)
    config = text_format.Parse(path.read_text(), messages.ModelServerConfig())
    models = config.model_config_list.config
    assert [(one.name, one.base_path) for one in models] == [("acgan", "/models/acgan"), ("cascade", "/models/cascade")]
    assert {one.model_platform for one in models} == {"tensorflow"}
    assert {one.model_version_policy.latest.num_versions for one in models} == {1}


def test_the_compose_file_reads_what_stands_beside_it(saved_models, capsys):
    export(ExportArguments(out_dir=str(saved_models), serving_config=True))
    said = capsys.readouterr().out.split()
    assert said == [str(saved_models / name) for name in ("models.config", "batching.config", "docker-compose.yaml")]
    compose = pytest.importorskip("yaml").safe_load((saved_models / "docker-compose.yaml").read_text())
    (service,) = compose["services"].values()
    assert service["image"] == "tensorflow/serving" and service["volumes"] == [".:/models:ro"]
    assert [port.rpartition(":")[2] for port in service["ports"]] == ["8500", "8501"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "--model_config_file=/models/models.config" in service["command"]
    batching = (saved_models / "batching.config").read_text()
    assert "max_batch_size { value: 64 }" in batching and "`truncation` must be given" in batching


def test_it_can_be_written_again(saved_models):
    first = [path.read_text() for path in write_serving_config(saved_models)]
    assert [path.read_text() for path in write_serving_config(saved_models)] == first


def test_a_folder_without_models_and_odd_names_are_refused(saved_models, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist; give the folder of all models"):
        write_serving_config(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="acgan holds no model, expected .*acgan/NAME/1/saved_model.pb; give"):
        write_serving_config(saved_models / "acgan")
    (saved_models / 'a"b' / "1").mkdir(parents=True)
    (saved_models / 'a"b' / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match='a"b has a quote or a control character in its name; rename the folder'):
        write_serving_config(saved_models)


def test_flags_of_an_export_do_not_go_with_it(saved_models):
    with pytest.raises(ValueError, match="^--version would have no effect: --serving_config exports no model; give"):
        export(ExportArguments(out_dir=str(saved_models), serving_config=True, version=3))


@pytest.mark.parametrize(("size", "channels"), [(64, 1), (256, 3), (1024, 1)])
def test_noise_of_the_stated_number_fits_into_an_answer_and_little_more_does(size, channels):
    predict = pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs extra serving")

    def answer_bytes(count):
        images = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)
        pngs = np.array([tf.io.encode_png(image).numpy() for image in images[:1]] * count, object)
        sizes = []
        for outputs in ({"image": images}, {"png_bytes": pngs}):
            answer = predict.PredictResponse()
            answer.model_spec.name, answer.model_spec.signature_name = "a" * 100, "serving_default"
            for name in ("realism", "tries", "seed", "is_accepted", "copy_ratio", "copies_refused"):
                outputs[name] = np.zeros(count, np.int64)
            for name, value in outputs.items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            sizes.append(answer.ByteSize())
        return sizes

    count = images_per_answer(size, size, channels)
    assert max(answer_bytes(count)) <= CLIENT_LIMIT < min(answer_bytes(int(count * 1.1) + 1))


def test_64_images_of_1024_pixels_need_a_raised_limit():
    assert images_per_answer(1024, 1024, 1) == 3 and images_per_answer(64, 64, 1) > 900
