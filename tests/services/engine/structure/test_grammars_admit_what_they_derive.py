import random

import pytest

from services.engine.structure.format import StructureRefused
from services.engine.structure.gbnf import read_gbnf
from tests.services.engine.structure.derivations import Derivations
from tests.services.structures import ARITHMETIC, accepts, compiled, walk, wanted
from tests.tiny.language_models import tokenizer

GRAMMARS = {
    "arithmetic": (ARITHMETIC, "12+-*/()"),
    "a word that ends in a keyword": ('root ::= word "end"\nword ::= [a-z]*', "end"),
    "the same, recursive": ('root ::= word "end" ("(" root ")")?\nword ::= [den]*', "end()"),
    "keywords and names": (
        'root ::= (stmt ";")+ block?\nblock ::= "{" root "}"\nstmt ::= "if" " "+ name | name "=" name\nname ::= [fi]+',
        "if =;{}",
    ),
    "a repetition and what begins like it": ('root ::= a b | "(" root ")"\na ::= "x"*\nb ::= "xy"', "xy()"),
    "prefixes": ('root ::= "a" b | "ab" c | "[" root "]"\nb ::= "bd"\nc ::= "e"', "abde[]"),
    "on the left": ('root ::= root "+" num | num\nnum ::= "1" "1"?', "1+"),
    "on both sides": ('root ::= "a" root "b" | "ab" | "a" root', "ab"),
    "ambiguous": ('root ::= root root | "a" | "b"?', "abc"),
    "empty in places": ('root ::= a? "(" root? ")" a{0,2}\na ::= "x" | ""', "x()"),
    "counted": ('root ::= pair{2,3} | "<" root{2} ">"\npair ::= [ab]{1,2} ","', "ab,<>"),
    "palindromes": ('root ::= "a" root "a" | "b" root "b" | "" | [ab]', "ab"),
    "spaces everywhere": ('root ::= ws "[" ws (root ws ("," ws root ws)*)? "]" ws\nws ::= " "*', " [],"),
    "negated": ('root ::= "\\"" ([^"\\\\] | "\\\\" ["\\\\n])* "\\"" | "{" root "}"', '"\\nx{}'),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_text_is_accepted_if_and_only_if_the_grammar_derives_it(name: str) -> None:
    grammar, letters = GRAMMARS[name]
    structure, rules = compiled(wanted("grammar", grammar)), read_gbnf(grammar)
    dice = random.Random(0)
    texts = {"".join(dice.choices(letters, k=dice.randrange(9))) for _ in range(250)}
    # Choosing tokens that the structure allows finds valid texts that random choice would not.
    for seed in range(25):
        ids, accepting = walk(structure, seed, 12)
        text = tokenizer().decode(ids)
        assert Derivations(rules, text).whole() == accepting
        texts |= {text[:8], text[:8] + dice.choice(letters), text[1:8]}
    found = {text: accepts(structure, text) for text in texts}
    assert found == {text: Derivations(rules, text).whole() for text in texts}
    assert 0 < sum(found.values()) < len(found)


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ('root ::= "\\u00e9\\x41\\U0001F30A\\n\\t\\"\\\\\\u0000"', 'éA🌊\n\t"\\\0'),
        ("root ::= [\\u4e00-\\u9fff]+ [\\]\\[^-] [a\\-z] [é🌊]", "東京]-é"),
        ("root ::= .", "\n"),
        ("root ::= [^\\n] [^a]", "\x7f\n"),
        ('# begin\nroot ::=\n  one # first\n  two\n\none ::= (\n  "a"\n  | "b"\n)\ntwo ::= "c"\n | "d"\n', "bd"),
        (
            'root ::= fooBar foo-bar foo_bar start\nfooBar ::= "1"\nfoo-bar ::= "2"\nfoo_bar::="3"\nstart ::= "4"',
            "1234",
        ),
        ('root ::= "a"{3} "b"{2,} "c"{,1} "d"{0} | ', "aaabbb"),
        ('root ::= "a"{3} "b"{2,} "c"{,1} "d"{0} | ', ""),
        ('root ::= ("a"{1,2}){2}+ "/*" [^*]* "*/"', "aaaaaa/* x */"),
    ],
)
def test_the_notation_is_read_as_llama_cpp_writes_it(grammar: str, text: str) -> None:
    structure = compiled(wanted("grammar", grammar))
    assert accepts(structure, text)
    assert not accepts(structure, text + "!")


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ("", "has no rule `root`"),
        ('a ::= "x"', "has no rule `root`"),
        ('root ::= "x" other', "refers to a rule `other` that it does not define"),
        ('root ::= "x"\nroot ::= "y"', "line 2: the rule `root` is defined a second time"),
        ('root ::= "x', "line 1: a text or a class of characters is not closed"),
        ("root ::= [a", "line 1: a text or a class of characters is not closed"),
        ('root ::= ("x"\n', "line 2: a group is not closed"),
        ('root ::= "x")', "line 1: expected a rule"),
        ("root ::= [z-a]", "line 1: a range of characters ends before it begins"),
        ("root ::= []", "line 1: a class of characters holds none"),
        ('root ::= "\\q"', "line 1: the escape \\q is not known"),
        ('root ::= "\\ud800"', "line 1: \\ud800 is no character"),
        ('root ::= "\\u12"', "line 1: \\u12"),
        ('root ::= "x"{3,2}', "line 1: {3,2} is no number of repetitions"),
        ('root ::= "x"{9999999}', "line 1: {9999999} exceeds 1000000 repetitions"),
        ('root ::= "x"{}', "line 1: {} is no number"),
        ("root ::= <think>", "line 1: tokens cannot be named"),
        ("root ::= * ", "line 1: unexpected '*'"),
        ("root ::= " + "(" * 60 + '"x"' + ")" * 60, "nested 50 deep at most"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(grammar: str, words: str) -> None:
    with pytest.raises(StructureRefused) as caught:
        compiled(wanted("grammar", grammar))
    assert words in str(caught.value)
