def test_it_runs_from_raw_images_to_its_page(run_smoke):
    run_smoke("li2025")
