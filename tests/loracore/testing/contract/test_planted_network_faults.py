"""A toy network with one thing wrong: the contract check names the method, the file, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.testing import ContractError, check_network, toy_adapter, toy_network
from tests.planting import Plant, Planted, assert_told_at

HOOKS, ADAPTER = "planted_network", "planted_adapter"
FORWARD = '        """Return the layer\'s output and what the factors make of its inputs."""\n'
LINEAR = "return output + functional.linear(functional.linear(inputs, down), up)"
CHOSEN = "config[NetworkOptions].network_dim or 2"
RANKED = "chosen if target.rank is None else target.rank"
ANSWER = f"return ToyAdapter(target, {RANKED})"
FINDINGS = 'return [Finding("without effect", name, "the toy network has no scale")] if config.given(name) else []'
RANK = "        return len(self.down)\n"
START = "torch.randn(rank, *weights[0].shape[1:], device=device)"
SHAPES = "if {name: tensor.shape for name, tensor in tensors.items()} != own:"
MORE = "    @property\n    def rank(self)"
KEPT = """if "hidden" not in vars(self):
            self.hidden = functional.linear(inputs, down).detach()
        return output + functional.linear(self.hidden, up)"""
COUNTED = """    def draw_masks(self, rng):
        self.count = vars(self).get("count", 0) + 1
        self.warmth = self.count / (self.count + 1)

    def clear_masks(self):
        self.warmth = 1

"""
TOLD = """    def low_rank(self, index):
        from loracore.networks.low_rank import LowRank, Rows
        rows = self._rows[index]
        return LowRank(Rows(self.down, 0, len(self.down)), [Rows(self.up, rows.start, rows.stop)], 2.0)

"""

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


@pytest.fixture
def planted(plant: Plant) -> Planted:
    hooks, adapter = (Path(str(one.__file__)).read_text(encoding="utf-8") for one in (toy_network, toy_adapter))
    assert hooks.count(toy_adapter.__name__) == 1
    return plant("network", {HOOKS: hooks.replace(toy_adapter.__name__, ADAPTER), ADAPTER: adapter}, check_network)


def assert_told(error: ContractError, hook: str, *words: str, file: str = ADAPTER) -> None:
    """Look for a fault of this hook or method, in the planted file at a line, that says these words."""
    assert_told_at(rf"{file}\.py:\d+", error, hook, *words)


# ---- what build_adapter answers --------------------------------------------------------------------------------------


def test_an_answer_that_is_no_adapter(planted: Planted) -> None:
    error = planted((ANSWER, "return ToyAdapter(target, 2).down"))
    assert_told(error, "build_adapter", "returns Parameter", "return a loracore.Adapter, or None", file=HOOKS)


def test_no_adapter_for_any_layer(planted: Planted) -> None:
    error = planted((ANSWER, "return None"))
    assert_told(error, "build_adapter", "no layer of any form", "for a Linear layer at least", file=HOOKS)


def test_a_hook_that_raises(planted: Planted) -> None:
    error = planted((ANSWER, "return {}[target.key]"))
    assert_told(error, "build_adapter", "raises KeyError", "a Linear layer", file=HOOKS)


def test_one_adapter_for_every_call(planted: Planted) -> None:
    kept = """made = vars(build_adapter).setdefault("made", {})
    return made.setdefault((target.key, target.layers[0].weight.is_meta), ToyAdapter(target, 2))"""
    error = planted((ANSWER, kept))
    assert_told(error, "build_adapter", "the same adapter a second time", "build a new one in every call", file=HOOKS)
    assert len(error.faults) == 1


def test_a_rank_that_nobody_reads(planted: Planted) -> None:
    error = planted((CHOSEN, "2"))
    assert_told(error, "build_adapter", "network_dim changes nothing", "config[NetworkOptions].network_dim", file=HOOKS)


def test_a_targets_own_rank_that_nobody_reads(planted: Planted) -> None:
    error = planted((RANKED, "chosen"))
    assert_told(error, "build_adapter", "a target's own rank changes nothing", "take target.rank", file=HOOKS)


def test_an_alpha_that_nobody_reads_and_nobody_speaks_of(planted: Planted) -> None:
    error = planted((FINDINGS, "return []"))
    words = ("own alpha changes nothing", "take target.alpha", 'Finding("without effect", "network_alpha", …)')
    assert_told(error, "build_adapter", *words, file=HOOKS)


# ---- what check_options answers --------------------------------------------------------------------------------------


def test_options_that_are_checked_with_an_exception(planted: Planted) -> None:
    error = planted((FINDINGS, 'return {}["x"]'))
    assert_told(error, "check_options", "raises KeyError", "mend this line", file=HOOKS)


def test_options_that_are_checked_with_nothing(planted: Planted) -> None:
    error = planted((FINDINGS, "return None"))
    assert_told(error, "check_options", "None", file=HOOKS)


# ---- a fresh adapter -------------------------------------------------------------------------------------------------


def test_a_start_that_no_seed_decides(planted: Planted) -> None:
    unseeded = "generator = torch.Generator()\n        generator.seed()\n        self.down = nn.Parameter("
    error = planted(
        ("self.down = nn.Parameter(", unseeded), (START, START.replace("device=device", "generator=generator"))
    )
    assert_told(error, "ToyAdapter.__init__", "start differently under the same seed", "torch's global generator")


def test_a_start_that_changes_the_layer(planted: Planted) -> None:
    error = planted(("torch.zeros(ends[-1]", "torch.ones(ends[-1]"))
    assert_told(error, "ToyAdapter.__init__", "a fresh adapter changes the layer", "a factor of zeros")


def test_memory_for_a_target_on_the_meta_device(planted: Planted) -> None:
    error = planted(('"meta" if weights[0].is_meta else "cpu"', '"cpu"'))
    assert_told(error, "ToyAdapter.__init__", "takes memory", "weight.is_meta")


def test_a_layer_that_is_kept(planted: Planted) -> None:
    error = planted(("        device = ", "        self.layer = target.layers[0]\n        device = "))
    assert_told(error, "ToyAdapter.__init__", "holds on to the target's layers", "forward gets the layers")


def test_a_layer_that_is_kept_in_a_closure(planted: Planted) -> None:
    error = planted(("        device = ", "        self.first = lambda: target.layers[0].weight\n        device = "))
    assert_told(error, "ToyAdapter.__init__", "holds on to the target's layers")


def test_a_rank_that_is_no_number(planted: Planted) -> None:
    error = planted((RANK, "        return 0\n"))
    assert_told(error, "ToyAdapter.rank", "it is 0", "a whole number above 0")


def test_parameters_that_are_not_the_adapters_own(planted: Planted) -> None:
    trained = "    def trained_parameters(self):\n        return [self.up * 1]\n\n"
    error = planted((MORE, trained + MORE))
    assert_told(error, "ToyAdapter.trained_parameters", "no parameters of the adapter", "register them")


# ---- forward ---------------------------------------------------------------------------------------------------------


def test_state_kept_between_calls(planted: Planted) -> None:
    error = planted((LINEAR, KEPT))
    assert_told(error, "ToyAdapter.forward", "something is kept between two calls", "compute it anew in every call")


def test_an_output_that_is_written_into(planted: Planted) -> None:
    error = planted((LINEAR, LINEAR.replace("return output + ", "return output.add_(") + ")"))
    assert_told(error, "ToyAdapter.forward", "writes into the output", "not output +=")


def test_inputs_that_are_written_into(planted: Planted) -> None:
    error = planted((FORWARD, FORWARD + "        inputs.data.mul_(0.5)\n"))
    assert_told(error, "ToyAdapter.forward", "writes into the inputs", "return a new tensor")


def test_another_precision(planted: Planted) -> None:
    error = planted((LINEAR, f"{LINEAR}.float()"))
    assert_told(error, "ToyAdapter.forward", "returns torch.float32 for inputs and output in torch.bfloat16")


def test_another_shape(planted: Planted) -> None:
    error = planted((LINEAR, f"({LINEAR[7:]})[:, :1]".join(["return ", ""])))
    assert_told(error, "ToyAdapter.forward", "returns [2, 1, 16] for an output of [2, 3, 16]", "of the same shape")


def test_a_gradient_that_is_cut_off(planted: Planted) -> None:
    error = planted((LINEAR, LINEAR.replace("down)", "down.detach())")))
    assert_told(error, "ToyAdapter.forward", "no gradient reaches down", "without detach()")


def test_a_gradient_that_does_not_go_on_to_the_inputs(planted: Planted) -> None:
    error = planted((LINEAR, LINEAR.replace("(inputs,", "(inputs.detach(),")))
    assert_told(error, "ToyAdapter.forward", "goes on to the inputs", "depend on inputs")


def test_numbers_from_the_global_generator(planted: Planted) -> None:
    error = planted((LINEAR, LINEAR.replace("(inputs,", "(functional.dropout(inputs),")))
    assert_told(error, "ToyAdapter.forward", "draws from a global generator", "draw in draw_masks, from rng")


def test_masks_that_are_not_cleared(planted: Planted) -> None:
    masks = "    def draw_masks(self, rng):\n        self.mask = rng.uniform(1, 1)\n\n"
    masked = 'return output + functional.linear(functional.linear(inputs, down), up) * vars(self).get("mask", 1)'
    error = planted((MORE, masks + MORE), (LINEAR, masked))
    assert_told(error, "ToyAdapter.clear_masks", "masks are left", "forget everything that draw_masks drew")


def test_factors_that_are_not_what_forward_adds(planted: Planted) -> None:
    error = planted((MORE, TOLD + MORE))
    assert_told(error, "ToyAdapter.low_rank", "something else than forward", "return None")


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_tensor_that_the_file_lacks(planted: Planted) -> None:
    error = planted(
        ('return {"down": self.down, "up": self.up}', 'return {"up": self.up}'),
        ('            self.down.copy_(tensors["down"])\n', ""),
    )
    assert_told(error, "ToyAdapter.file_tensors", "changes the layer otherwise", "every tensor that the change")


def test_a_tensor_that_is_not_taken_over(planted: Planted) -> None:
    error = planted(('            self.down.copy_(tensors["down"])\n', ""))
    assert_told(error, "ToyAdapter.load_file_tensors", "does not give the same ones back", "take over every tensor")


def test_wrong_shapes_that_end_in_torchs_words(planted: Planted) -> None:
    error = planted((SHAPES, "if set(tensors) != set(own):"))
    assert_told(error, "ToyAdapter.load_file_tensors", "raises RuntimeError", "of another shape", "raise DataError")


def test_foreign_tensors_that_are_taken(planted: Planted) -> None:
    error = planted((SHAPES, "if not set(own) <= set(tensors):"))
    assert_told(error, "ToyAdapter.load_file_tensors", "takes tensors with one name too many", "raise DataError")


def test_a_refusal_that_comes_too_late(planted: Planted) -> None:
    early = "self.down.data.add_(1)\n        if {name: tensor.shape for name, tensor in tensors.items()} != own:"
    error = planted((SHAPES, early))
    assert_told(error, "ToyAdapter.load_file_tensors", "has taken over some", "before anything is taken over")


def test_a_merge_that_is_not_what_training_does(planted: Planted) -> None:
    error = planted(("return change.view(weights[index].shape)", "return change.view(weights[index].shape) / 2"))
    assert_told(error, "ToyAdapter.weight_change", "not what forward does", "all factors and scales")


def test_a_dilation_that_is_forgotten(planted: Planted) -> None:
    error = planted(("layer.padding, layer.dilation)", "layer.padding)"))
    assert_told(error, "ToyAdapter.forward", "stride 2 and dilation 2")


def test_a_merge_that_raises_is_told_once_under_its_own_name(planted: Planted) -> None:
    error = planted(("return change.view(weights[index].shape)", 'raise KeyError("x")'))
    assert_told(error, "ToyAdapter.weight_change", "raises KeyError")
    assert len(error.faults) == 1


def test_a_norm_that_is_told_but_not_limited(planted: Planted) -> None:
    norm = "    def limit_norm(self, largest):\n        return (self.up @ self.down.flatten(1)).norm().detach()\n\n"
    error = planted((MORE, norm + MORE))
    assert_told(error, "ToyAdapter.limit_norm", "limits a norm of", "scale the tensors")


# ---- whole runs ------------------------------------------------------------------------------------------------------


def test_something_that_a_state_does_not_hold(planted: Planted) -> None:
    masked = 'return output + functional.linear(functional.linear(inputs, down), up) * vars(self).get("warmth", 1)'
    error = planted((MORE, COUNTED + MORE), (LINEAR, masked))
    assert error.faults[0].hook == "a resumed run"
    assert error.faults[0].where == f"{HOOKS}.py"
    assert "ends otherwise than one that never was" in error.faults[0].message
    assert "keep nothing between two steps" in error.faults[0].fix
