from __future__ import annotations

from steepest.reporting.markup import Html, element, join, prose


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = element("b", "", '1 < 2 & "3"')
    assert inner == '<b>1 &lt; 2 &amp; "3"</b>'
    assert element("p", "x", inner, " <i>") == f'<p class="x">{inner} &lt;i&gt;</p>'


def test_attributes_cannot_be_left() -> None:
    made = element("p", {"title": "\"><script>x</script>'\x1b[0m\n", "data": 1.5})
    assert made == '<p title="&quot;&gt;&lt;script&gt;x&lt;/script&gt;&#x27;\n" data="1.5"></p>'


def test_text_put_together_by_hand_is_text_again() -> None:
    assert join([element("b", "", "x") + "<y>"]) == "&lt;b&gt;x&lt;/b&gt;&lt;y&gt;"
    assert isinstance(join(["a"]), Html)


def test_void_elements() -> None:
    assert element("meta", {"charset": "utf-8"}) == '<meta charset="utf-8">'
    assert element("line", {"x1": 1.0}) == '<line x1="1"/>'


def test_prose_sets_signs_but_leaves_hyphens() -> None:
    assert prose("85.0 % (-9.0 to +12.0), sign-flip 2026-11-20 p < 0.1") == (
        "85.0\u00a0% (\u22129.0 to +12.0), sign-flip 2026-11-20 p\u00a0<\u00a00.1"
    )
