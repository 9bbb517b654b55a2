from dalcli.config.suggest import did_you_mean, suggestion


def test_finds_the_closest_name_in_any_case() -> None:
    assert did_you_mean("catt", ["dog", "cat", "other"]) == "cat"
    assert did_you_mean("CAT", ["dog", "Cat"]) == "Cat"
    assert did_you_mean("labels", ["label", "path"]) == "label"


def test_says_nothing_when_nothing_is_close_or_the_word_itself_is_listed() -> None:
    assert did_you_mean("zebra", ["cat", "dog"]) is None
    assert did_you_mean("cat", ["cat"]) is None
    assert did_you_mean("cat", []) is None


def test_suggestion_is_ready_to_append() -> None:
    assert suggestion("catt", ["cat"]) == ": did you mean 'cat'?"
    assert suggestion("zebra", ["cat"]) == ""
