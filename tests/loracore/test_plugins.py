"""Plugins are found by name from metadata; only those a run names are imported, and their contract is checked."""

from __future__ import annotations

import sys

import pytest

from loracore.defaults import DEFAULT_PLUGINS
from loracore.errors import PluginError
from loracore.plugins import InstalledPlugin, assemble, find_plugin, import_plugin, installed_plugins
from tests.loracore.conftest import PLUGIN, TOY_ARCHITECTURE, TOY_NETWORK, Install

pytestmark = pytest.mark.usefixtures("site")


def run_of_toys(*extensions: str) -> None:
    assemble("toy", "toynet", extensions, DEFAULT_PLUGINS)


def test_installed_plugins_are_listed_without_an_import(install: Install) -> None:
    module = install("loracore-toy", "architecture", "toy", "raise RuntimeError")
    toy = next(plugin for plugin in installed_plugins() if plugin.name == "toy")
    assert (toy.kind, toy.module, toy.origin) == ("architecture", module, "loracore-toy 1.5")
    assert module not in sys.modules


def test_two_packages_claiming_one_name_are_both_named(install: Install) -> None:
    install("loracore-toy", "architecture", "toy", PLUGIN)
    install("other-toy", "architecture", "toy", PLUGIN)
    with pytest.raises(PluginError, match=r"loracore-toy 1\.5 and other-toy 1\.5"):
        find_plugin("architecture", "toy")


def test_one_name_may_stand_for_plugins_of_two_kinds(install: Install) -> None:
    install("loracore-toy", "architecture", "toy", PLUGIN)
    install("other-toy", "network", "toy", PLUGIN)
    assert find_plugin("network", "toy").package == "other-toy"


def test_an_unknown_architecture_names_the_package_to_install() -> None:
    with pytest.raises(PluginError, match="pip install loracore-marvel"):
        find_plugin("architecture", "marvel")


def test_a_misspelt_architecture_suggests_the_nearest(install: Install) -> None:
    install("loracore-marvel", "architecture", "marvel", PLUGIN)
    with pytest.raises(PluginError, match="did you mean 'marvel'"):
        find_plugin("architecture", "marvle")


def test_an_import_that_fails_names_plugin_and_reason(install: Install) -> None:
    install("loracore-toy", "architecture", "toy", "import missing_thing")
    with pytest.raises(PluginError, match=r"'toy' \(loracore-toy 1\.5\) cannot be imported: .*missing_thing"):
        import_plugin(find_plugin("architecture", "toy"))


def test_an_entry_point_that_names_more_than_a_module_is_told_so() -> None:
    plugin = InstalledPlugin("blot", "network", "loracore_blot:plugin", "loracore-blot", "1.0")
    with pytest.raises(PluginError, match=r"cannot be imported.*without ':': loracore_blot\b"):
        import_plugin(plugin)


@pytest.mark.usefixtures("toys")
def test_a_broken_plugin_disturbs_no_run_that_does_not_name_it(install: Install) -> None:
    install("broken", "extension", "broken", "raise RuntimeError")
    run_of_toys()
    with pytest.raises(PluginError, match="RuntimeError"):
        run_of_toys("broken")


@pytest.mark.parametrize("code", ["0", "7", "'enough'"])
def test_a_plugin_that_ends_the_program_when_imported_is_an_error(install: Install, code: str) -> None:
    install("evil", "architecture", "evil", f"raise SystemExit({code})")
    with pytest.raises(PluginError, match=r"'evil' \(evil 1\.5\) cannot be imported: SystemExit"):
        import_plugin(find_plugin("architecture", "evil"))


def test_an_interrupt_during_an_import_stays_one(install: Install) -> None:
    install("slow", "architecture", "slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_plugin(find_plugin("architecture", "slow"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "states no LORACORE_API"),
        ("LORACORE_API = 99", "plugin API 99"),
        ("LORACORE_API = '1'", "plugin API '1', which is no whole number; .* write LORACORE_API = 1"),
    ],
)
def test_another_api_version_is_an_error(install: Install, source: str, said: str) -> None:
    install("loracore-toy", "architecture", "toy", source)
    with pytest.raises(PluginError, match=said):
        import_plugin(find_plugin("architecture", "toy"))


@pytest.mark.usefixtures("toys")
def test_a_misspelt_hook_is_an_error(install: Install) -> None:
    install("ext", "extension", "ext", PLUGIN + "@hookimpl\ndef step_dun(): pass\n")
    said = r"ext_ext_module\.py:6: extension 'ext' \(ext 1\.5\), hook 'step_dun': no hook .* 'step_done'\?\)"
    with pytest.raises(PluginError, match=said):
        run_of_toys("ext")


@pytest.mark.usefixtures("toys")
def test_a_hook_with_an_argument_that_it_does_not_get_is_an_error(install: Install) -> None:
    install("ext", "extension", "ext", PLUGIN + "@hookimpl\ndef step_done(stepp): pass\n")
    with pytest.raises(PluginError, match="stepp"):
        run_of_toys("ext")


def test_a_hook_that_nobody_answers_is_an_error(install: Install) -> None:
    install("loracore-toy", "architecture", "toy", TOY_ARCHITECTURE.replace("def lora_targets", "def epoch_done"))
    install("loracore-toynet", "network", "toynet", TOY_NETWORK)
    with pytest.raises(PluginError, match=r"epoch_done|lora_targets"):
        run_of_toys()


def test_a_run_without_a_network_may_leave_hooks_unanswered(install: Install) -> None:
    install("loracore-toy", "architecture", "toy", TOY_ARCHITECTURE)
    assert assemble("toy", None, (), DEFAULT_PLUGINS).has_plugin("architecture")


NOISE = PLUGIN + "@hookimpl\ndef draw_noise(): return 'mine'\n"
TARGETS = PLUGIN + "@hookimpl\ndef lora_targets(): return 'mine'\n"
WRAPPER = PLUGIN + "@hookimpl(wrapper=True)\ndef lora_targets():\n    return [*(yield), 'one more']\n"


@pytest.mark.usefixtures("toys")
def test_an_extension_may_answer_in_place_of_the_core(install: Install) -> None:
    install("ext", "extension", "ext", NOISE)
    manager = assemble("toy", "toynet", ["ext"], DEFAULT_PLUGINS)
    assert manager.hook.draw_noise(batch=None, rng=None, config=None) == "mine"


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("source", [NOISE, TARGETS])
def test_several_answers_from_outside_the_core_are_an_error(install: Install, source: str) -> None:
    install("one", "extension", "one", source)
    install("two", "extension", "two", source)
    with pytest.raises(PluginError, match=r"several answers: .*extension one"):
        run_of_toys("one", "two")


@pytest.mark.usefixtures("toys")
def test_an_extension_may_wrap_what_the_architecture_answers(install: Install) -> None:
    install("ext", "extension", "ext", WRAPPER)
    manager = assemble("toy", "toynet", ["ext"], DEFAULT_PLUGINS)
    assert manager.hook.lora_targets(models=None, config=None) == ["one more"]


@pytest.mark.usefixtures("toys")
def test_an_extension_named_twice_is_registered_once(install: Install) -> None:
    install("ext", "extension", "ext", NOISE)
    manager = assemble("toy", "toynet", ["ext", "ext"], DEFAULT_PLUGINS)
    assert [name for name, _ in manager.list_name_plugin()].count("extension ext") == 1


@pytest.mark.usefixtures("toys")
def test_a_module_with_two_roles_is_an_error(install: Install) -> None:
    module = install("ext", "extension", "ext", NOISE)
    install("ext", "extension", "alias", f"import sys, {module}\nsys.modules[__name__] = {module}\n")
    with pytest.raises(PluginError, match="extension ext and extension alias"):
        run_of_toys("ext", "alias")
