"""Modules, their kind and their place are told by the names of tensors, whoever wrote them."""

from __future__ import annotations

import pytest

from loracore.weights.inspect.network_modules import natural_order, network_modules, place_of


def kinds(**shapes: tuple[int, ...]) -> list[str]:
    return [module.kind for module in network_modules({f"lora_unet_q.{name}": shape for name, shape in shapes.items()})]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("lora_down.weight", "lora_up.weight", "alpha"), "LoRA"),
        (("lora_A.weight", "lora_B.weight"), "LoRA"),
        (("lora_down.weight", "lora_mid.weight", "lora_up.weight"), "LoRA with a third factor (Tucker)"),
        (("lora_down.weight", "lora_up.weight", "dora_scale"), "DoRA"),
        (("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight"), "DoRA"),
        (("lora_A.weight", "lora_B.weight", "lora_B.bias"), "LoRA with a bias"),
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"), "LoHa"),
        (("lokr_w1", "lokr_w2_a", "lokr_w2_b", "alpha"), "LoKr"),
        (("hada_w1_a", "dora_scale"), "LoHa"),
        (("a1.weight", "a2.weight", "b1.weight", "b2.weight"), "GLoRA"),
        (("weight", "on_input"), "IA3"),
        (("diff", "diff_b"), "full change"),
        (("w_norm", "b_norm"), "change of a norm"),
        (("lora_down.weight", "alpha"), "LoRA without lora_up.weight"),
        (("weight", "bias"), "unknown"),
    ],
)
def test_kinds_are_told_by_names(names: tuple[str, ...], kind: str) -> None:
    (module,) = network_modules({f"lora_unet_q.{name}": (4, 4) for name in names})
    assert (module.name, module.kind) == ("lora_unet_q", kind)


@pytest.mark.parametrize(("shape", "kind"), [((4, 2, 2), "OFT"), ((2, 4, 2, 2), "BOFT")])
def test_dimensions_tell_two_kinds_apart(shape: tuple[int, ...], kind: str) -> None:
    assert kinds(oft_blocks=shape) == [kind]


@pytest.mark.parametrize(
    ("module", "part", "block"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "unet", "input_blocks_4"),
        ("lora_te1_text_model_encoder_layers_10_mlp_fc1", "te1", "text_model_encoder_layers_10"),
        ("lora_unet_context_embedder", "unet", "context_embedder"),
        ("oft_unet_middle_block_1_proj_in", "unet", "middle_block_1"),
        ("transformer.transformer_blocks.3.attn.to_q", "transformer", "transformer_blocks.3"),
        ("text_encoder_2.text_model.encoder.layers.0.q_proj", "text_encoder_2", "text_model.encoder.layers.0"),
        ("base_model.model.blocks.7.to_q", "", "blocks.7"),
        ("down_blocks.1.attentions.0.to_q", "", "down_blocks.1"),
        ("lycoris_blocks_2_to_q", "", "blocks_2"),
    ],
)
def test_part_and_block_are_the_words_up_to_the_first_number(module: str, part: str, block: str) -> None:
    assert place_of(module) == (part, block)


def test_numbers_are_sorted_as_numbers() -> None:
    blocks = ["middle_1", "input_10", "input_2", "output_0"]
    assert sorted(blocks, key=natural_order) == ["input_2", "input_10", "middle_1", "output_0"]


def test_a_tensor_under_two_spellings_is_not_lost() -> None:
    names = ["q.lora_A.weight", "q.lora_down.weight", "q.lora_B.weight"]
    (module,) = network_modules(dict.fromkeys(names, (4, 4)))
    assert sorted(module.tensors.values()) == sorted(names)
