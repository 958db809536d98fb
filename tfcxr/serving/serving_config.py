"""What TensorFlow Serving needs to serve all models of a folder: three files, written beside the models.

tfcxr.serving.serving_config.write_serving_config("saved_models")
docker compose -f saved_models/docker-compose.yaml up
"""

import os
import pathlib

from tfcxr.data.atomic import write_atomically

PORTS = {"gRPC": 8500, "REST": 8501}
FOLDER = "/models"  # of the models, inside the container
MODELS_FILE, BATCHING_FILE, COMPOSE_FILE = "models.config", "batching.config", "docker-compose.yaml"
MODEL = """\
  config {{
    name: "{name}"
    base_path: "{folder}/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
"""
BATCHING = """\
# Requests that wait at the same time are computed together. Then `truncation` must be given, with one value per image,
# and `score` of a discriminator with minibatch stddev compares the images of several users.
max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 64 }
"""
COMPOSE = f"""\
# docker compose -f saved_models/docker-compose.yaml up
services:
  serving:
    image: tensorflow/serving
    restart: unless-stopped
    ports:
      - "127.0.0.1:{PORTS["gRPC"]}:{PORTS["gRPC"]}" # gRPC, for this machine alone
      - "127.0.0.1:{PORTS["REST"]}:{PORTS["REST"]}" # REST
    volumes:
      - .:{FOLDER}:ro
    command:
      - --model_config_file={FOLDER}/{MODELS_FILE}
      - --model_config_file_poll_wait_seconds=60
      # read {BATCHING_FILE} before you uncomment these
      # - --enable_batching=true
      # - --batching_parameters_file={FOLDER}/{BATCHING_FILE}
"""


def write_serving_config(saved_models: str | os.PathLike) -> list[pathlib.Path]:
    """Writes `models.config`, `batching.config` and `docker-compose.yaml`, in place of earlier ones.

    Of each model the newest version is served, and a new one as soon as its folder appears.

    Args:
      saved_models: folder of the models, each with its numbered versions.

    Returns:
      The files.

    Raises:
      FileNotFoundError: no such folder, or no model in it.
      ValueError: a model's folder has a name that no configuration can hold.
      OSError: no permission.
    """
    folder = pathlib.Path(saved_models)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; give the folder of all models, such as saved_models")
    names = sorted({path.parents[1].name for path in folder.glob("*/*/saved_model.pb") if path.parent.name.isdigit()})
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no model, expected {folder}/NAME/1/saved_model.pb; give the folder of all models, such as "
            "saved_models, and not that of one"
        )
    if wrong := [name for name in names if '"' in name or "\\" in name or not name.isprintable()]:
        raise ValueError(f"{folder / wrong[0]} has a quote or a control character in its name; rename the folder")
    models = "".join(MODEL.format(name=name, folder=FOLDER) for name in names)
    contents = {
        MODELS_FILE: f"model_config_list {{\n{models}}}\n",
        BATCHING_FILE: BATCHING,
        COMPOSE_FILE: COMPOSE,
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
