from tfcxr.study import StudyArguments, study


def test_it_runs_from_raw_images_to_its_page(run_smoke):
    run_smoke("li2025")


def test_another_critic_sees_images_of_its_own_size(tmp_path, capsys):
    """The DenseNet's size would contradict what an Xception of 150 px says of itself."""
    settings = ("keras_critic=xception.keras",)
    study(StudyArguments(names=("li2025",), variant="smoke", work_dir=str(tmp_path), settings=settings, dry_run=True))
    commands = [line for line in capsys.readouterr().out.splitlines() if "tfcxr.train --" in line]
    theirs = [line for line in commands if "/last_two_keras_critic" in line]
    ours = [line for line in commands if "transfer_pggan" in line and line not in theirs]
    assert ["critic_size=" in line for line in ours] == [True]
    assert ["critic_weights=xception.keras" in line and "critic_size=" not in line for line in theirs] == [True]
