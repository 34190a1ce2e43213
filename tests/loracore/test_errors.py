"""Problems say what is wrong, where, and what to do; several come as one error."""

from __future__ import annotations

from loracore.errors import ConfigError, LoracoreError, Problem, did_you_mean, nearest, printable


def test_a_problem_reads_place_message_fix() -> None:
    assert str(Problem("no such option", "a.toml:3", "drop it")) == "a.toml:3: no such option (drop it)"


def test_several_problems_are_one_error_of_the_class_that_was_asked() -> None:
    error = ConfigError.of([Problem("one"), Problem("two", "--x")])
    assert isinstance(error, ConfigError)
    assert str(error) == "one\n--x: two"


def test_an_error_of_one_problem_reads_like_it() -> None:
    error = LoracoreError("broken", where="a.png", fix="delete it")
    assert str(error) == str(error.problems[0]) == "a.png: broken (delete it)"


def test_the_nearest_name_is_suggested() -> None:
    assert did_you_mean("netwrok_dim", ["network_dim", "network_alpha"]) == "did you mean 'network_dim'?"


def test_nothing_near_suggests_nothing() -> None:
    assert nearest("zzz", ["network_dim"]) is None
    assert nearest("multires_noise_iterations", ["resize_interpolation"]) is None  # alike by chance
    assert did_you_mean("zzz", ["network_dim"]) == ""


def test_a_problem_is_one_line_that_commands_no_terminal() -> None:
    problem = Problem("is \x1b[31mred\x9b", "a\nb\u202e.png", "\udc80")
    assert str(problem) == r"a\nb\u202e.png: is \x1b[31mred\x9b (\udc80)"


def test_letters_of_all_languages_are_printed_as_they_are() -> None:
    assert printable("Käse 猫\u3000👩\u200d🚀 \\n") == "Käse 猫\u3000👩\u200d🚀 \\n"
