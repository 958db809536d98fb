from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.report.misjudged import misjudged_cases


def reading(reader, case, is_correct, **facts):
    is_synthetic = case.startswith("s")
    said = is_synthetic if is_correct else not is_synthetic
    return Reading(reader, "", case, "single", case, "", ("Mass",), is_synthetic, said, **facts)


def test_cases_are_sorted_by_the_share_that_they_fooled():
    given = [
        reading("B", "s1", False),
        reading("A", "s1", False),
        reading("A", "r1", False),
        reading("B", "r1", True),
        reading("A", "s2", True),
        reading("A", "s3", False),
    ]
    found = misjudged_cases(given)
    assert [case.case for case in found] == ["s1", "s3", "r1"]
    assert [case.share_wrong for case in found] == [1, 1, 0.5]
    assert (found[0].wrong, found[0].right) == (("A", "B"), ())
    assert (found[2].is_synthetic, found[2].wrong, found[2].right) == (False, ("A",), ("B",))
    assert found[0].labels == ("Mass",)


def test_reader_who_was_wrong_once_was_fooled():
    found = misjudged_cases([reading("A", "s1", True), reading("A", "s1", False)])
    assert (found[0].wrong, found[0].right) == (("A",), ())


def test_repeats_do_not_count():
    assert misjudged_cases([reading("A", "s1", True), reading("A", "s1", False, repeat_of="first")]) == []
