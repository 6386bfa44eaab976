from benchmarks.gpu.asked import Asked, kinds_asked

VOCABULARY, TOKENS = 400, 30


def test_a_wish_is_that_of_the_first_row_or_of_all() -> None:
    for count, wishing in ((1, False), (3, True)):
        of_wish = {
            wish: Asked(wish=wish, all=wishing).requests([[1], [2], [3]], TOKENS, VOCABULARY)
            for wish in ("penalties", "structure", "logprobs")
        }
        assert [one.sampling.frequency_penalty > 0 for one in of_wish["penalties"]].count(True) == count
        assert [one.structure is not None for one in of_wish["structure"]].count(True) == count
        assert [one.logprob_count is not None for one in of_wish["logprobs"]].count(True) == count


def test_the_structure_lasts_for_all_tokens() -> None:
    [request] = Asked(wish="structure").requests([[1]], TOKENS, VOCABULARY)
    assert request.structure is not None
    state = request.structure.begin()
    texts = '[{"name":"a","count":1}'  # each a token
    tokens = [request.structure.vocabulary._encode(letter)[0] for letter in texts]
    assert state.advance(tokens) == len(texts)
    end = request.structure.vocabulary._encode("]")[0]
    assert state.advance([end]) == 0  # as there are to be more objects than tokens


def test_each_wish_is_asked_of_one_and_of_all() -> None:
    found = [one.name for one in kinds_asked(True, ("penalties", "logprobs"), ("one", "all"))]
    wishes = ["penalties of one", "penalties of all", "logprobs of one", "logprobs of all"]
    assert found == ["drawn", *wishes]
