"""The command python -m tfcxr.embed."""

import numpy as np
import pytest

from tfcxr.config import to_plain
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.embed import EmbedArguments, embed
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run


def write_run(run_dir, data, image_size, filters):
    config = PGGANConfig(image_size=image_size, latent_size=8, filters=filters)
    start_run(run_dir, RunConfig("pggan", to_plain(config), (), 3, 4, 7, data), resume=False)
    Checkpoints(run_dir).save(7, PGGAN(config, seed=3).checkpoint_variables(), {})
    (run_dir / "training_patients.txt").write_text("patient-train-0\n")


@pytest.mark.thorough
def test_trains_embeds_and_refuses(disc_records, tmp_path, capsys, caplog):
    data = {"name": "discs", "notice": "", "licence": "tests", "salt_fingerprint": "tests"}
    write_run(tmp_path / "tiny", data, 32, (8, 8, 8, 8))
    write_run(tmp_path / "small", data, 16, (8, 8, 8))

    caplog.set_level("INFO", logger="absl")

    def call(out_dir, run="tiny", **others):
        folders = {"run_dir": str(tmp_path / run), "data_dir": str(disc_records), "out_dir": str(tmp_path / out_dir)}
        embed(EmbedArguments(**folders, **others))
        return capsys.readouterr().out

    quick = ("steps=3", "batch_size=4", "held_out_images=8")
    printed = call("first", settings=quick, splits=("validation", "test"), preview=True)
    assert f"wrote 32 images of validation, test to {tmp_path / 'first' / '32'}" in printed
    assert "test: mean squared pixel difference 0." in printed and "step 3: loss " in caplog.text
    assert (tmp_path / "first" / "32" / "pairs.png").is_file()
    call("again", splits=("test",))
    assert f"using the regressor in {tmp_path / 'tiny' / 'latent_regressor'}" in caplog.text
    images = [load_images(tmp_path / name / "32", "test").images for name in ("first", "again")]
    np.testing.assert_array_equal(*images)
    assert read_dataset_info(tmp_path / "again" / "32").provenance["embedding"]["settings"]["steps"] == 3
    with pytest.raises(ValueError, match="data set discs has no split 'held_out'; it has"):
        call("wrong", splits=("held_out",))
    with pytest.raises(ValueError, match="holds images of 32 px, but 16 px were asked for"):
        call("wrong", run="small")
    with pytest.raises(FileNotFoundError, match="none is not a run folder"):
        call("wrong", run="none")
    with pytest.raises(FileExistsError, match="first already holds a data set at 32 px"):
        call("first", regressor_dir=str(tmp_path / "other"))
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "other").exists(), "no regressor is trained in vain"
