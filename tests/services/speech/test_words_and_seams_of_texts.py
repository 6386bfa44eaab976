from services.speech.transcription.text_words import joined_texts, words_of


def test_words_are_parted_as_their_script_parts_them() -> None:
    assert words_of(" He said: it's  me.\n") == ["He", "said:", "it's", "me."]
    assert words_of("我叫Ann，他好。") == ["我", "叫", "Ann", "，", "他", "好", "。"]
    assert words_of("สวัส") == ["ส", "ว", "ั", "ส"]
    assert words_of("안녕 하세요") == ["안녕", "하세요"]


def test_texts_are_joined_with_what_parts_words() -> None:
    assert joined_texts(["He left. ", "", " She came."]) == "He left. She came."
    assert joined_texts(["我叫安。", "他好。"]) == "我叫安。他好。"
    assert joined_texts(["我叫", "Ann"]) == "我叫 Ann"
    assert joined_texts([]) == ""
