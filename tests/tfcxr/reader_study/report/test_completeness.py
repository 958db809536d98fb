from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.report.completeness import completeness

ROWS = [
    Answer("1", "R1", "", "consent", server_time="2026-01-01T09:00:00"),
    Answer("2", "R1", "training", "shown"),
    Answer("3", "R1", "training", "final", {"synthetic": False}),
    Answer("4", "R1", "grid", "change", {"synthetic": [True] * 6}),
    Answer("5", "R1", "grid", "paused"),
    Answer("6", "R1", "grid", "final", {"synthetic": [True] * 6}),
    Answer("7", "R1", "pair", "viewed"),
    Answer("8", "R1", "pair", "change", {"real": 0}, server_time="2026-01-01T09:05:00"),
]


def test_each_row_is_counted_once_by_reason(design):
    rows = completeness(design, ROWS).rows
    assert rows == {
        "final answers that count": 1,
        "final answers to training examples": 1,
        "changes before a final answer": 1,
        "changes of questions that have no final answer yet": 1,
        "consents": 1,
        "notes that a question was shown": 1,
        "notes of pauses": 1,
        "notes of zoom and window": 1,
    }
    assert sum(rows.values()) == len(ROWS)


def test_progress_leaves_out_training_examples(design):
    first, second = completeness(design, ROWS).readers
    assert (first.reader, first.group, first.has_consented) == ("R1", "registrar", True)
    assert (first.done, first.total, first.last_stored) == (1, 3, "2026-01-01T09:05:00")
    assert (second.reader, second.has_consented, second.done, second.total) == ("R2", False, 0, 3)
    assert second.last_stored == ""


def test_simulated_readers_are_named(design):
    assert completeness(design, ROWS).simulated == ""
    rows = [*ROWS, Answer("9", "R2", "", "consent", viewport={"simulated": True})]
    assert completeness(design, rows).simulated == "Simulated readers, not people, gave the answers of R2."


def test_missing_answers_are_said(design):
    found = completeness(design, ROWS)
    assert not found.is_complete
    assert found.missing == (
        "The study is not finished: 0 of 2 readers are through, and 5 of 6 answers are missing; nothing yet from R2."
    )


def test_nothing_is_missing_at_the_end(design):
    given = {"grid": {"synthetic": [True] * 6}, "pair": {"real": 0}, "single": {"synthetic": True}}
    rows = [Answer(f"{r} {i}", r, i, "final", value) for r in ("R1", "R2") for i, value in given.items()]
    found = completeness(design, rows)
    assert found.is_complete
    assert found.missing == ""
