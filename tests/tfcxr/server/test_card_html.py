"""Model cards as HTML: what is marked, and that nothing of a card becomes markup of its own."""

from tfcxr.server.card_html import card_html
from tfcxr.serving.evaluation_section import BEGIN
from tfcxr.serving.model_card import markdown_table


def test_headings_paragraphs_and_strong_words():
    assert card_html("# A card\n\nTwo **strong\nwords**.\n\n## Use") == (
        "<h3>A card</h3>\n<p>Two <strong>strong words</strong>.</p>\n<h4>Use</h4>"
    )


def test_text_of_a_heading_may_follow_it_at_once():
    assert card_html("## Limits\n- one") == "<h4>Limits</h4><ul><li>one</li></ul>"


def test_lists_hold_items_of_several_lines():
    assert card_html("Known:\n- one\n  and more\n- `two`") == (
        "<p>Known:</p><ul><li>one and more</li><li><code>two</code></li></ul>"
    )


def test_a_table_keeps_its_cells_and_the_bars_in_them():
    found = card_html(markdown_table(("name", "value"), [("a|b", "`c`")]))
    assert "<thead><tr><th>name</th><th>value</th></tr></thead>" in found
    assert "<tbody><tr><td>a|b</td><td><code>c</code></td></tr></tbody>" in found


def test_a_table_without_a_header_has_none():
    assert "<thead>" not in card_html(markdown_table(("", ""), [("a", "b")]))


def test_code_is_kept_letter_by_letter():
    found = card_html("```python\nx = 1 < 2\n\n# not a heading\n```\nend")
    assert found == '<pre tabindex="0"><code>x = 1 &lt; 2\n\n# not a heading</code></pre>\n<p>end</p>'


def test_no_html_of_a_card_is_markup():
    attack = '<script>alert(1)</script> <img src=x onerror="alert(2)"> [x](javascript:alert(3)) `<b>` **<i>**'
    for card in (attack, f"# {attack}", f"- {attack}", f"> {attack}", f"| {attack} |", f"```\n{attack}\n```"):
        found = card_html(card)
        assert "&lt;script&gt;" in found
        for tag in ("<script", "<img", "<b>", "<i>", "<a "):
            assert tag not in found, card


def test_what_a_card_escaped_is_not_escaped_twice_and_comments_are_left_out():
    assert card_html(f"{BEGIN}\n- below &lt; above") == "<ul><li>below &lt; above</li></ul>"


def test_the_card_of_an_export_has_all_its_parts(tiny_export):
    found = card_html((tiny_export / "README.md").read_text())
    assert "<h3>tiny, version 1</h3>" in found
    assert "<blockquote><p>Discs, not radiographs.</p></blockquote>" in found
    assert found.count("<table>") == 4
    assert "docker run" in found and "```" not in found and "| --- |" not in found
